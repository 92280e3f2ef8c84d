// What the entries of the convolutions share.
#pragma once

#include "cuda/implicit_gemm.cuh"
#include "entry.h"

namespace wwae {

// {N, H, W, C, O, KH, KW, PH, PW}
inline Convolution convolution_of(const int64_t* c) {
  const auto narrow = [&](int i) { return static_cast<int32_t>(c[i]); };
  return {narrow(0), narrow(1), narrow(2), narrow(3), narrow(4), narrow(5), narrow(6), narrow(7), narrow(8)};
}

// As with_dtype, for the dtypes that tensor cores multiply.
template <typename Body>
void with_half(int64_t dtype, const Body& body) {
  dtype == 2 ? body(Tag<__nv_bfloat16>{}) : body(Tag<__half>{});
}

}  // namespace wwae

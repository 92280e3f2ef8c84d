// From the tensor beta (N, C) to what the kernels of soft_argmax_pool2d and its gradient read.
#pragma once

#include "cuda/launch.cuh"
#include "cuda/soft_window.cuh"

namespace wwae {

template <typename scalar_t>
PlaneBeta<compute_t<scalar_t>> plane_beta(const Tensor& beta, MemoryFormat layout) {
  const bool planes = layout == MemoryFormat::Contiguous;
  return {elements<compute_t<scalar_t>>(beta), beta.stride(0), beta.stride(1),
          planes ? static_cast<int32_t>(beta.size(1)) : 0};
}

}  // namespace wwae

#include "gemm.cuh"

#include "entry.h"

namespace wwae {
namespace {

template <typename scalar_t, int64_t... numbers>
void launch(Fault fault, const void* a, const void* b, float* c, int k, int columns,
            std::integer_sequence<int64_t, numbers...>) {
  const auto try_one = [&](auto number) {
    if (number() == static_cast<int64_t>(fault)) {
      EmulatedLaunch()(gemm_kernel<scalar_t, static_cast<Fault>(number())>, Blocks{columns / kTile, kGemmThreads},
                       static_cast<const scalar_t*>(a), static_cast<const scalar_t*>(b), c, k, columns);
    }
  };
  (try_one(std::integral_constant<int64_t, numbers>()), ...);
}

}  // namespace

// dtype: 2 bfloat16, 3 float16, which has no faults.
WWAE_ENTRY emulate_gemm(int64_t dtype, int64_t fault, const void* a, const void* b, float* c, int64_t k,
                        int64_t columns) {
  const auto run = [&](auto scalar, auto faults) {
    launch<typename decltype(scalar)::type>(static_cast<Fault>(fault), a, b, c, static_cast<int>(k),
                                            static_cast<int>(columns), faults);
  };
  if (dtype == 2)
    return run(Tag<__nv_bfloat16>(), std::make_integer_sequence<int64_t, static_cast<int64_t>(Fault::count)>());
  run(Tag<__half>(), std::integer_sequence<int64_t, 0>());
}

}  // namespace wwae

#include "cuda/soft_argmax_unpool2d.cuh"

#include "entry.h"

namespace wwae {

WWAE_ENTRY emulate_soft_argmax_unpool2d(int64_t dtype, const void* what, const void* where, void* output,
                                        const int64_t* geometry, int64_t images, int64_t channels) {
  with_dtype(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    const SoftUnpoolTensors<scalar_t> tensors = {static_cast<const scalar_t*>(what),
                                                 static_cast<const compute_t<scalar_t>*>(where),
                                                 static_cast<scalar_t*>(output), channels};
    launch_soft_argmax_unpool2d(EmulatedLaunch(), tensors, geometry_of(geometry), images);
  });
}

}  // namespace wwae

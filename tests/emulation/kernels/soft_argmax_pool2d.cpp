#include "cuda/soft_argmax_pool2d.cuh"

#include "entry.h"

namespace wwae {

// planes: C where the kernels see planes as images, else 0.
WWAE_ENTRY emulate_soft_argmax_pool2d(int64_t dtype, const void* x, const void* beta, int64_t image_stride,
                                      int64_t channel_stride, int64_t planes, void* what, void* where,
                                      const int64_t* geometry, int64_t images, int64_t channels) {
  with_dtype(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    using sum_t = compute_t<scalar_t>;
    const PlaneBeta<sum_t> betas = {static_cast<const sum_t*>(beta), image_stride, channel_stride,
                                    static_cast<int32_t>(planes)};
    const SoftPoolTensors<scalar_t> tensors = {static_cast<const scalar_t*>(x), betas, static_cast<scalar_t*>(what),
                                               static_cast<sum_t*>(where), channels};
    launch_soft_argmax_pool2d(EmulatedLaunch(), tensors, geometry_of(geometry), images);
  });
}

}  // namespace wwae

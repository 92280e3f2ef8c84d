#include "cuda/soft_argmax_pool2d_backward.cuh"

#include "entry.h"

namespace wwae {

// numbers: null where windows tile the map; beta_sums, lines, grad_beta: null where beta needs no gradient.
WWAE_ENTRY emulate_soft_argmax_pool2d_backward(int64_t dtype, const void* x, const void* beta, int64_t image_stride,
                                               int64_t channel_stride, int64_t planes, const void* what,
                                               const void* where, void* grad_x, void* numbers, int64_t windows,
                                               void* beta_sums, void* lines, void* grad_beta, const int64_t* geometry,
                                               int64_t images, int64_t channels) {
  with_dtype(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    using sum_t = compute_t<scalar_t>;
    const PlaneBeta<sum_t> betas = {static_cast<const sum_t*>(beta), image_stride, channel_stride,
                                    static_cast<int32_t>(planes)};
    const SoftPoolGradients<scalar_t> tensors = {static_cast<const scalar_t*>(x),
                                                 betas,
                                                 static_cast<const scalar_t*>(what),
                                                 static_cast<const sum_t*>(where),
                                                 static_cast<scalar_t*>(grad_x),
                                                 static_cast<sum_t*>(numbers),
                                                 windows,
                                                 static_cast<sum_t*>(beta_sums),
                                                 channels};
    const Geometry32 g = geometry_of(geometry);
    launch_soft_argmax_pool2d_backward(EmulatedLaunch(), tensors, g, images);
    if (beta_sums == nullptr) return;
    launch_soft_argmax_pool2d_backward_beta(EmulatedLaunch(), static_cast<const sum_t*>(beta_sums),
                                            static_cast<sum_t*>(lines), static_cast<sum_t*>(grad_beta), g, images,
                                            channels);
  });
}

}  // namespace wwae

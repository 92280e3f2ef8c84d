#include "cuda/soft_argmax_unpool2d_backward.cuh"

#include "entry.h"

namespace wwae {

WWAE_ENTRY emulate_soft_argmax_unpool2d_backward(int64_t dtype, const void* what, const void* where, const void* grad,
                                                 void* grad_what, void* grad_where, const int64_t* geometry,
                                                 int64_t images, int64_t channels) {
  with_dtype(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    using sum_t = compute_t<scalar_t>;
    const SoftUnpoolGradients<scalar_t> tensors = {
        static_cast<const scalar_t*>(what), static_cast<const sum_t*>(where), static_cast<const scalar_t*>(grad),
        static_cast<scalar_t*>(grad_what),  static_cast<sum_t*>(grad_where),  channels};
    launch_soft_argmax_unpool2d_backward(EmulatedLaunch(), tensors, geometry_of(geometry), images);
  });
}

}  // namespace wwae

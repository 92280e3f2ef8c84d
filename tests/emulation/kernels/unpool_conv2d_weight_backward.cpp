#include "cuda/unpool_conv2d_weight_backward.cuh"

#include <cmath>
#include <vector>

#include "convolution.h"

namespace wwae {

WWAE_ENTRY emulate_unpool_conv2d_weight_backward(int64_t dtype, const void* x, const void* offsets, const void* dense,
                                                 void* grad, const int64_t* convolution, const int64_t* geometry) {
  const WeightGradient plan = plan_weight_gradient(convolution_of(convolution));
  std::vector<float> partial(plan.parts * plan.weights(), NAN);
  with_half(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    launch_unpool_conv2d_weight_backward(EmulatedLaunch(), static_cast<const scalar_t*>(x),
                                         static_cast<const uint8_t*>(offsets), static_cast<const scalar_t*>(dense),
                                         partial.data(), static_cast<scalar_t*>(grad), plan, geometry_of(geometry));
  });
}

}  // namespace wwae

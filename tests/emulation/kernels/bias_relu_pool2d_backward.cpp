#include "cuda/bias_relu_pool2d_backward.cuh"

#include <cmath>
#include <vector>

#include "entry.h"

namespace wwae {

WWAE_ENTRY emulate_bias_relu_pool2d_backward(int64_t dtype, int64_t offset_bytes, const void* grad, const void* values,
                                             const void* offsets, void* map, void* bias, const int64_t* geometry,
                                             int64_t images, int64_t channels, int64_t batch, int64_t map_channels,
                                             int64_t interleaved) {
  const Geometry32 g = geometry_of(geometry);
  with_dtype(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    using number = compute_t<scalar_t>;
    const PassedGradient<scalar_t> gradient = {static_cast<const scalar_t*>(grad),
                                               static_cast<const scalar_t*>(values)};
    const StripPlan plan = plan_window_sums(gradient, g, batch, map_channels, interleaved != 0);
    std::vector<number> partial(plan.strips.partials(), NAN);
    launch_bias_gradient(EmulatedLaunch(), gradient, partial.data(), static_cast<number*>(bias), plan);
    with_offsets(offset_bytes, [&](auto offset) {
      using offset_t = typename decltype(offset)::type;
      launch_map_gradient(EmulatedLaunch(), gradient, static_cast<const offset_t*>(offsets), AsCollected(),
                          static_cast<scalar_t*>(map), g, images, channels);
    });
  });
}

}  // namespace wwae

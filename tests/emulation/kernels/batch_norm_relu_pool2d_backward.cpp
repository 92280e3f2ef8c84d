#include "cuda/batch_norm_relu_pool2d_backward.cuh"

#include <cmath>
#include <vector>

#include "entry.h"

namespace wwae {

WWAE_ENTRY emulate_batch_norm_relu_pool2d_backward(int64_t dtype, int64_t offset_bytes, const void* grad,
                                                   const void* values, const void* offsets, const void* x,
                                                   const void* mean, const void* variance, const void* weight,
                                                   int64_t training, double eps, void* map, void* grad_weight,
                                                   void* grad_bias, const int64_t* geometry, int64_t images,
                                                   int64_t channels, int64_t batch, int64_t map_channels,
                                                   int64_t interleaved) {
  const Geometry32 g = geometry_of(geometry);
  const int64_t plane = static_cast<int64_t>(g.h.input) * g.w.input;
  with_dtype(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    using number = compute_t<scalar_t>;
    const PassedGradient<scalar_t> gradient = {static_cast<const scalar_t*>(grad),
                                               static_cast<const scalar_t*>(values)};
    const StripPlan plan = plan_window_sums(gradient, g, batch, map_channels, interleaved != 0);
    std::vector<number> partial(2 * plan.strips.partials(), NAN);
    std::vector<number> factors(3 * map_channels, NAN);
    number* scale = factors.data();
    const Coefficients<number> coefficients = {static_cast<const number*>(variance),
                                               static_cast<const number*>(weight),
                                               static_cast<number*>(grad_weight),
                                               static_cast<number*>(grad_bias),
                                               scale,
                                               scale + map_channels,
                                               scale + 2 * map_channels,
                                               eps,
                                               static_cast<double>(batch * plane)};
    with_offsets(offset_bytes, [&](auto offset) {
      using offset_t = typename decltype(offset)::type;
      const auto* switches = static_cast<const offset_t*>(offsets);
      const auto* pixels = static_cast<const scalar_t*>(x);
      const auto* means = static_cast<const number*>(mean);
      launch_batch_norm_sums(EmulatedLaunch(), gradient, switches, pixels, means, partial.data(), coefficients, g,
                             channels, plan);
      const auto write = [&](auto finish) {
        launch_map_gradient(EmulatedLaunch(), gradient, switches, finish, static_cast<scalar_t*>(map), g, images,
                            channels);
      };
      if (training != 0) {
        write(Normalised<scalar_t, true>{pixels, means, scale, coefficients.slope, coefficients.shift, map_channels,
                                         plane});
      } else {
        write(Normalised<scalar_t, false>{pixels, means, scale, coefficients.slope, coefficients.shift, map_channels,
                                          plane});
      }
    });
  });
}

}  // namespace wwae

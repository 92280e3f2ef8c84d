#include "cuda/batch_norm_relu_pool2d.cuh"

#include <cmath>
#include <vector>

#include "entry.h"

namespace wwae {

// training: fill mean and variance with the statistics of x.
WWAE_ENTRY emulate_batch_norm_relu_pool2d(int64_t dtype, int64_t offset_bytes, const void* x, const void* weight,
                                          const void* bias, void* mean, void* variance, int64_t training, double eps,
                                          void* values, void* offsets, const int64_t* geometry, int64_t images,
                                          int64_t channels, int64_t batch, int64_t map_channels, int64_t interleaved) {
  const Geometry32 g = geometry_of(geometry);
  with_dtype(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    using number = compute_t<scalar_t>;
    const auto* pixels = static_cast<const scalar_t*>(x);
    auto* means = static_cast<number*>(mean);
    auto* variances = static_cast<number*>(variance);
    if (training != 0) {
      const int64_t positions = static_cast<int64_t>(g.h.input) * g.w.input;
      const StripPlan plan = plan_statistics(pixels, batch, map_channels, positions, interleaved != 0);
      std::vector<number> partial(3 * plan.strips.partials(), NAN);
      launch_statistics(EmulatedLaunch(), pixels, partial.data(), means, variances, plan);
    }
    std::vector<number> scale(map_channels, NAN);
    launch_batch_norm_scale(EmulatedLaunch(), static_cast<const number*>(variances), static_cast<const number*>(weight),
                            scale.data(), eps, map_channels);
    const PoolTensors<scalar_t> tensors = {pixels, static_cast<scalar_t*>(values), offsets, nullptr, channels};
    const BatchNormReLU<scalar_t> activation = {{map_channels}, means, scale.data(), static_cast<const number*>(bias)};
    with_offsets(offset_bytes, [&](auto offset) {
      using offset_t = typename decltype(offset)::type;
      launch_switch_pool2d<offset_t, false>(EmulatedLaunch(), tensors, g, images, activation);
    });
  });
}

}  // namespace wwae

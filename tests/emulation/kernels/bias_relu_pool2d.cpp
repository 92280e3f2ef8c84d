#include "cuda/bias_relu_pool2d.cuh"

#include "entry.h"

namespace wwae {

WWAE_ENTRY emulate_bias_relu_pool2d(int64_t dtype, int64_t offset_bytes, const void* x, const void* bias, void* values,
                                    void* offsets, const int64_t* geometry, int64_t images, int64_t channels,
                                    int64_t map_channels) {
  with_dtype(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    const PoolTensors<scalar_t> tensors = {static_cast<const scalar_t*>(x), static_cast<scalar_t*>(values), offsets,
                                           nullptr, channels};
    const BiasReLU<scalar_t> activation = {{map_channels}, static_cast<const compute_t<scalar_t>*>(bias)};
    with_offsets(offset_bytes, [&](auto offset) {
      using offset_t = typename decltype(offset)::type;
      launch_switch_pool2d<offset_t, false>(EmulatedLaunch(), tensors, geometry_of(geometry), images, activation);
    });
  });
}

}  // namespace wwae

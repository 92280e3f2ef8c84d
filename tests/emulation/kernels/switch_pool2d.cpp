#include "cuda/switch_pool2d.cuh"

#include "entry.h"

namespace wwae {

// indices: null where only values and offsets are wanted.
WWAE_ENTRY emulate_switch_pool2d(int64_t dtype, int64_t offset_bytes, const void* x, void* values, void* offsets,
                                 int64_t* indices, const int64_t* geometry, int64_t images, int64_t channels) {
  with_dtype(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    const PoolTensors<scalar_t> tensors = {static_cast<const scalar_t*>(x), static_cast<scalar_t*>(values), offsets,
                                           indices, channels};
    with_offsets(offset_bytes, [&](auto offset) {
      using offset_t = typename decltype(offset)::type;
      if (indices == nullptr) {
        launch_switch_pool2d<offset_t, false>(EmulatedLaunch(), tensors, geometry_of(geometry), images);
      } else {
        launch_switch_pool2d<offset_t, true>(EmulatedLaunch(), tensors, geometry_of(geometry), images);
      }
    });
  });
}

}  // namespace wwae

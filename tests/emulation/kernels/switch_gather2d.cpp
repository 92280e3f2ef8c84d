#include "cuda/switch_gather2d.cuh"

#include "entry.h"

namespace wwae {

WWAE_ENTRY emulate_switch_gather2d(int64_t dtype, int64_t offset_bytes, const void* x, const void* offsets,
                                   void* output, const int64_t* geometry, int64_t images, int64_t channels,
                                   int64_t overlap) {
  with_dtype(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    with_offsets(offset_bytes, [&](auto offset) {
      using offset_t = typename decltype(offset)::type;
      launch_switch_gather2d(EmulatedLaunch(), static_cast<const scalar_t*>(x), static_cast<const offset_t*>(offsets),
                             static_cast<scalar_t*>(output), geometry_of(geometry), images, channels,
                             static_cast<Overlap>(overlap));
    });
  });
}

}  // namespace wwae

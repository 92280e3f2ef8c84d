#include "cuda/max_gather2d.cuh"

#include "entry.h"
#include "owners.h"

namespace wwae {

// windows, pixels: of one plane.
WWAE_ENTRY emulate_max_gather2d(int64_t dtype, int64_t wide_owners, const void* x, const int64_t* indices, void* output,
                                int64_t windows, int64_t pixels, int64_t images, int64_t channels) {
  const Planes windows_in = {windows, channels};
  const Planes pixels_in = {pixels, channels};
  with_dtype(dtype, [&](auto scalar) {
    using word = word_t<typename decltype(scalar)::type>;
    with_owners(wide_owners != 0, indices, windows_in, pixels_in, images, [&](const auto* owners) {
      launch_max_gather2d(EmulatedLaunch(), static_cast<const word*>(x), indices, owners, static_cast<word*>(output),
                          windows_in, pixels_in, images);
    });
  });
}

}  // namespace wwae

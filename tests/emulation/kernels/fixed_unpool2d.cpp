#include "cuda/fixed_unpool2d.cuh"

#include "entry.h"

namespace wwae {

// sizes: height and width of the output, of x, of the stride, of the position.
WWAE_ENTRY emulate_fixed_unpool2d(int64_t dtype, const void* x, void* output, const int64_t* sizes, int64_t images,
                                  int64_t channels) {
  int32_t pairs[4][2];
  for (int i = 0; i < 8; ++i) pairs[i / 2][i % 2] = static_cast<int32_t>(sizes[i]);
  with_dtype(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    launch_fixed_unpool2d(EmulatedLaunch(), static_cast<const scalar_t*>(x), static_cast<scalar_t*>(output), pairs[0],
                          pairs[1], pairs[2], pairs[3], images, channels);
  });
}

}  // namespace wwae

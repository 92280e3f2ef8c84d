// What the device headers of csrc/cuda use, for a host compiler: one thread after another, each run to its end. That
// is exact for kernels without barriers, shuffles or shared memory, and none of these has any.
#pragma once

#include <cstdint>

struct EmulatedIndex {
  unsigned x = 0, y = 0, z = 0;
};

inline EmulatedIndex threadIdx, blockIdx;

namespace wwae {

struct Tiling;

namespace dev {

inline int64_t failed_assertions = 0;
inline bool backwards = false;

#define WWAE_DEVICE_ASSERT(condition) (static_cast<void>((condition) ? 0 : ++::wwae::dev::failed_assertions))

template <typename T>
void atomic_max(T* address, T value) {
  if (value > *address) *address = value;
}

template <typename access>
void store(access* address, access value) {
  *address = value;
}

}  // namespace dev

// Runs a kernel over a tiling, the last argument of the kernel.
struct EmulatedLaunch {
  template <typename... Parameters, typename Shape, typename... Arguments>
  void operator()(void (*kernel)(Parameters...), const Shape& tiling, const Arguments&... arguments) const {
    const int block_threads = tiling.block_columns * tiling.block_rows;
    const int64_t threads = tiling.blocks * block_threads;
    for (int64_t i = 0; i < threads; ++i) {
      const int64_t thread = dev::backwards ? threads - 1 - i : i;
      blockIdx.x = static_cast<unsigned>(thread / block_threads);
      threadIdx.x = static_cast<unsigned>(thread % block_threads % tiling.block_columns);
      threadIdx.y = static_cast<unsigned>(thread % block_threads / tiling.block_columns);
      kernel(arguments..., tiling);
    }
  }
};

}  // namespace wwae

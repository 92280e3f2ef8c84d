// What the device headers of csrc/cuda use, for a host compiler: one thread after another, each run to its end. That
// is exact for kernels without barriers, shuffles or shared memory, and none of these has any.
#pragma once

#include <cstdint>

struct EmulatedIndex {
  unsigned x = 0, y = 0, z = 0;
};

inline EmulatedIndex threadIdx, blockIdx;

namespace wwae::dev {

inline int64_t failed_assertions = 0;

#define WWAE_DEVICE_ASSERT(condition) (static_cast<void>((condition) ? 0 : ++::wwae::dev::failed_assertions))

template <typename T>
void atomic_max(T* address, T value) {
  if (value > *address) *address = value;
}

template <typename access>
void store(access* address, access value) {
  *address = value;
}

}  // namespace wwae::dev

// What the device headers of csrc/cuda use, for a host compiler. Each thread of a block is a fiber (see scheduler.h);
// a thread that never waits runs to its end and costs no more than a call.
//
// Errors, with the file and line of the call: threads of a block that wait at two different barriers, or wait for one
// that has left; a mask without the calling lane, with a lane that does not exist or has left, or other than the mask
// of a lane in it; a shuffle from a lane outside the mask; nobody able to go on; a thread that leaves with unfinished
// copies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "collectives.h"
#include "counting.h"

struct EmulatedIndex {
  unsigned x = 0, y = 0, z = 0;
};

inline EmulatedIndex threadIdx, blockIdx;
inline EmulatedIndex blockDim = {1, 1, 1}, gridDim = {1, 1, 1};

namespace wwae::emulation {

// The shared variable that `key` stands for: one exactly sized block of memory in each block of threads, all bits set.
void* shared(const void* key, size_t bytes, size_t alignment);
void* dynamic_shared();

void note_failed_assertion();

}  // namespace wwae::emulation

#define WWAE_SHARED(type, name, ...)                                  \
  static const char name##_key = 0;                                   \
  auto& name = *static_cast<std::type_identity_t<type __VA_ARGS__>*>( \
      ::wwae::emulation::shared(&name##_key, sizeof(type __VA_ARGS__), alignof(type)))
#define WWAE_DYNAMIC_SHARED(name) \
  unsigned char* const name = static_cast<unsigned char*>(::wwae::emulation::dynamic_shared())
#define WWAE_LAUNCH_BOUNDS(threads, blocks)
#define WWAE_DEVICE_ASSERT(condition) ((condition) ? static_cast<void>(0) : ::wwae::emulation::note_failed_assertion())

namespace wwae::dev {

using emulation::Site;

inline void sync_threads(Site site = Site::here()) { emulation::barrier(site); }

inline void sync_warp(uint32_t mask, Site site = Site::here()) {
  emulation::Collective mine = {"sync_warp", mask, site, emulation::meet};
  emulation::collective(mine);
}

template <typename T>
T shuffle(uint32_t mask, T value, int lane, Site site = Site::here()) {
  return emulation::exchange("shuffle", mask, value, lane & 31, site);
}

template <typename T>
T shuffle_xor(uint32_t mask, T value, int lane_bits, Site site = Site::here()) {
  return emulation::exchange("shuffle_xor", mask, value, (emulation::lane() ^ lane_bits) & 31, site);
}

template <typename T>
T shuffle_down(uint32_t mask, T value, int lanes, Site site = Site::here()) {
  const int from = emulation::lane() + lanes;
  return emulation::exchange("shuffle_down", mask, value, from > 31 ? emulation::lane() : from, site);
}

inline uint32_t ballot(uint32_t mask, bool predicate, Site site = Site::here()) {
  emulation::Collective mine = {"ballot", mask, site, emulation::vote, predicate};
  emulation::collective(mine);
  return static_cast<uint32_t>(mine.value);
}

template <typename T>
#if defined(WWAE_COUNTED)
__attribute__((no_sanitize("thread")))
#endif
void atomic_max(T* address, T value) {
#if defined(WWAE_COUNTED)
  emulation::count_atomic(address, sizeof(T));
  if (value > *address) *address = value;
#elif defined(__SANITIZE_THREAD__)
  T found = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (value > found &&
         !__atomic_compare_exchange_n(address, &found, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
#else
  if (value > *address) *address = value;
#endif
}

template <typename access>
void store(access* address, access value) {
  *address = value;
}

}  // namespace wwae::dev

#include "tensor_cores.h"

// Global memory whose traffic is counted, in the build "counted".
#pragma once

#include <cstddef>
#include <cstdint>

namespace wwae::emulation {

// What a GPU moves between memory and its caches at once.
constexpr int64_t kSectorBytes = 32;

// Counts the accesses to this memory, which a kernel takes for a tensor, from now on.
void watch(const void* address, int64_t bytes);

// From now on, sectors count again: caches keep nothing between launches.
void begin_launch();

// One request that reads and writes counts as one store.
void count_atomic(const void* address, size_t bytes);

}  // namespace wwae::emulation

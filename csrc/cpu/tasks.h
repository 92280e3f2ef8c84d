// How work is cut into tasks for PyTorch's threads.
#pragma once

#include <algorithm>
#include <cstdint>

namespace wwae {

// A task touches at least this many elements: with fewer, waking a thread costs more than it saves.
constexpr int64_t kElementsPerTask = 16384;

// Items per task for parallel_for.
inline int64_t grain_size(int64_t elements_per_item) {
  return std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(1, elements_per_item));
}

}  // namespace wwae

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

// Calls `body(outer, inner)` for the items [begin, end) of a grid of rows of `inner_size` items, without dividing for
// each.
template <typename Body>
void for_each_item(int64_t begin, int64_t end, int64_t inner_size, const Body& body) {
  int64_t outer = begin / inner_size;
  int64_t inner = begin % inner_size;
  for (int64_t item = begin; item < end; ++item) {
    body(outer, inner);
    if (++inner == inner_size) {
      inner = 0;
      ++outer;
    }
  }
}

}  // namespace wwae

// How work is cut into tasks for PyTorch's threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/geometry.h"
#include "common/stable.h"

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

// Neighbouring images of a stack.
struct Group {
  int64_t first;
  int64_t images;
};

// Calls `body(scratch, group)` on PyTorch's threads for groups of at most `together` images that make up all `images`,
// with a `scratch()` per task. `elements`: of an image.
template <typename Scratch, typename Body>
void for_each_group(int64_t images, int64_t together, int64_t elements, const Scratch& scratch, const Body& body) {
  const int64_t groups = ceil_divide(images, together);
  parallel_for(0, groups, grain_size(together * elements), [&](int64_t begin, int64_t end) {
    auto own = scratch();
    for (int64_t first = begin * together; first < std::min(end * together, images); first += together) {
      body(own, Group{first, std::min(together, images - first)});
    }
  });
}

}  // namespace wwae

// What the soft operations keep in a block of contiguous planes (plane_blocks.h), and when they take planes in blocks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "common/geometry.h"
#include "cpu/accumulate.h"
#include "cpu/plane_blocks.h"
#include "cpu/tap_lanes.h"

namespace wwae {

// Two numbers that are moved together.
template <typename sum_t>
struct TwoOf {
  sum_t numbers[2];
};
template <typename sum_t>
using pair_t = std::conditional_t<sizeof(sum_t) == 4, int64_t, TwoOf<sum_t>>;

// A block of pairs of numbers.
template <typename sum_t>
class BlockOfPairs {
 public:
  BlockOfPairs(int64_t size, int64_t planes) : block_(size, planes) {}

  sum_t* data() { return reinterpret_cast<sum_t*>(block_.data()); }

  const sum_t* read(const sum_t* planes, Group group) {
    block_.read(reinterpret_cast<const pair_t<sum_t>*>(planes), group);
    return data();
  }

  void write(sum_t* planes, Group group) { block_.write(reinterpret_cast<pair_t<sum_t>*>(planes), group); }

 private:
  BlockOf<pair_t<sum_t>> block_;
};

// A block of a map that windows write to.
template <typename scalar_t>
class BlockOfWindows {
 public:
  BlockOfWindows(const Geometry& g, int64_t planes)
      : g_(g), map_(pixels(), planes), sums_(kSumsAreElements<scalar_t> || g.disjoint() ? 0 : pixels() * planes) {}

  // Runs `row(target, 0, oh, channels)` for every row of windows and writes what it puts, 0 where it puts nothing.
  template <typename Row>
  void write(element_t<scalar_t>* planes, Group group, const Row& row) {
    if (g_.disjoint()) {
      rows(Target<scalar_t, false>{map_.data(), g_.w.input, group.images, 0}, group, row);
    } else if constexpr (kSumsAreElements<scalar_t>) {
      rows(Target<scalar_t, true>{map_.data(), g_.w.input, group.images, 0}, group, row);
    } else {
      rows(Target<scalar_t, true>{sums_.data(), g_.w.input, group.images, 0}, group, row);
      narrow_all<scalar_t>(sums_.data(), pixels() * group.images, map_.data());
    }
    map_.write(planes, group);
  }

 private:
  using sum_t = accumulate_t<scalar_t>;

  int64_t pixels() const { return g_.h.input * g_.w.input; }

  template <typename target_t, typename Row>
  void rows(const target_t& target, Group group, const Row& row) const {
    if (target_t::kAdd || !tiled(g_)) std::fill_n(target.map, pixels() * group.images, typename target_t::value_t{0});
    for (int64_t oh = 0; oh < g_.h.output; ++oh) row(target, 0, oh, Range<int64_t>{0, group.images});
  }

  Geometry g_;
  BlockOf<element_t<scalar_t>> map_;
  std::vector<sum_t> sums_;
};

// Whether planes are taken in blocks: there is a vector of them, and so many that blocks of larger ones keep the
// threads of any machine busy; their maps stay about the second-level cache; and the windows of a row do not fill
// vectors as well. Only those of 2x2/2 windows do, which interleave even and odd columns. Blocks add in another order,
// so the number of threads has no say.
template <typename sum_t>
bool in_blocks(const Geometry& g, const Images& images) {
  constexpr int64_t kBytes = 1024 * 1024;
  constexpr int64_t kSmall = 1024;
  constexpr int64_t kManyBlocks = 8;
  constexpr int64_t kPlanes = kLanes<sum_t>;
  const int64_t pixels = g.h.input * g.w.input;
  const bool enough = images.count >= (pixels <= kSmall ? 1 : kManyBlocks) * kPlanes;
  const bool filled = g.w.output >= kPlanes && g.w.kernel == 2 && g.w.stride == 2;
  return images.channels == 1 && enough && pixels * kVectorBytes <= kBytes && !filled;
}

// Calls `body(scratch, group)` on PyTorch's threads for the blocks, with a `scratch()` per task.
template <typename sum_t, typename Scratch, typename Body>
void for_each_block(const Geometry& g, const Images& images, const Scratch& scratch, const Body& body) {
  for_each_group(images.count, kLanes<sum_t>, g.h.output * g.w.output * g.taps(), scratch, body);
}

}  // namespace wwae

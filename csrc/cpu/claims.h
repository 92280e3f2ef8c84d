// Which windows may point at a position: unpooling seen from the pixel.
#pragma once

#include <cstdint>
#include <vector>

#include "common/geometry.h"

namespace wwae {

// A window and its tap at some position of an axis.
struct Claim {
  int64_t window;
  int64_t tap;
};

// For every position of an axis the windows that own a tap there, ascending. With both axes, nested row by column, the
// windows of a pixel come in raster order.
class Claims {
 public:
  explicit Claims(const Axis& axis) : first_(axis.input + 1) {
    // From windows to positions, because the way back takes divisions.
    for_each_tap(axis, [&](int64_t position, Claim) { ++first_[position + 1]; });
    for (int64_t position = 0; position < axis.input; ++position) first_[position + 1] += first_[position];
    claims_.resize(first_.back());
    std::vector<int64_t> next = first_;
    for_each_tap(axis, [&](int64_t position, Claim claim) { claims_[next[position]++] = claim; });
  }

  const Claim* begin(int64_t position) const { return claims_.data() + first_[position]; }
  const Claim* end(int64_t position) const { return claims_.data() + first_[position + 1]; }

 private:
  // All real taps of the windows, window by window.
  template <typename Body>
  static void for_each_tap(const Axis& axis, const Body& body) {
    for (int64_t window = 0; window < axis.output; ++window) {
      const Range<int64_t> taps = axis.taps(window);
      for (int64_t tap = taps.begin; tap < taps.end; ++tap) body(axis.position(window, tap), Claim{window, tap});
    }
  }

  std::vector<int64_t> first_;
  std::vector<Claim> claims_;
};

}  // namespace wwae

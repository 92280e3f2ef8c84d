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

// For every position of an axis the windows that own a tap there, ascending; a table, because finding them takes
// divisions. With both axes, nested row by column, the windows of a pixel come in raster order.
class Claims {
 public:
  explicit Claims(const Axis& axis) : first_(axis.input + 1) {
    for (int64_t position = 0; position < axis.input; ++position) {
      const Range<int64_t> windows = axis.windows_over(position);
      for (int64_t window = windows.begin; window < windows.end; ++window) {
        const int64_t tap = axis.tap_at(window, position);
        if (tap >= 0) claims_.push_back({window, tap});
      }
      first_[position + 1] = static_cast<int64_t>(claims_.size());
    }
  }

  const Claim* begin(int64_t position) const { return claims_.data() + first_[position]; }
  const Claim* end(int64_t position) const { return claims_.data() + first_[position + 1]; }

 private:
  std::vector<int64_t> first_;
  std::vector<Claim> claims_;
};

}  // namespace wwae

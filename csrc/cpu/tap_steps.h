// From the offset of a tap to a distance in memory.
#pragma once

#include <cstdint>
#include <vector>

#include "common/geometry.h"

namespace wwae {

// The distance from a window's first tap to the tap an offset names, in elements of the map.
class TapSteps {
 public:
  TapSteps(const Geometry& g, int64_t row_stride, int64_t column_stride) : steps_(g.taps()) {
    for (int64_t tap = 0; tap < g.taps(); ++tap) {
      steps_[tap] = tap / g.w.kernel * g.h.dilation * row_stride + tap % g.w.kernel * g.w.dilation * column_stride;
    }
  }

  int64_t operator[](int64_t tap) const { return steps_[tap]; }

 private:
  std::vector<int64_t> steps_;
};

}  // namespace wwae

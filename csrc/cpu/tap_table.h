// Where the tap that an offset names stands: a table, because finding its row and column takes a division.
#pragma once

#include <cstdint>
#include <vector>

#include "common/geometry.h"

namespace wwae {

// Distances from the first tap of a window, in rows and in columns of the map.
struct Tap {
  int64_t row;
  int64_t column;
};

class TapTable {
 public:
  TapTable(const Geometry& g, int64_t row_stride, int64_t column_stride) : taps_(g.taps()), steps_(g.taps()) {
    for (int64_t offset = 0; offset < g.taps(); ++offset) {
      const int64_t row = offset / g.w.kernel * g.h.dilation;
      const int64_t column = offset % g.w.kernel * g.w.dilation;
      taps_[offset] = {row, column};
      steps_[offset] = row * row_stride + column * column_stride;
    }
  }

  const Tap& operator[](int64_t offset) const { return taps_[offset]; }

  // Distance in elements of memory.
  int64_t step(int64_t offset) const { return steps_[offset]; }
  const int64_t* steps() const { return steps_.data(); }

  // False for an offset that names no tap of the window: damaged data.
  bool contains(int64_t offset) const { return static_cast<uint64_t>(offset) < taps_.size(); }
  int64_t size() const { return static_cast<int64_t>(taps_.size()); }

 private:
  std::vector<Tap> taps_;
  std::vector<int64_t> steps_;
};

}  // namespace wwae

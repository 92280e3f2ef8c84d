// Unpooling to a contiguous plane (H, W), a tile of rows at a time, so that a tile is cleared, filled and written back
// to memory once.
//
// 2x2/2 windows: lanes = windows, every output element is chosen between a value and 0 and stored once. All others:
// the tile is cleared and each window writes, or adds, at its switch, in raster order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/geometry.h"
#include "cpu/accumulate.h"
#include "cpu/lanes.h"
#include "cpu/tap_table.h"

namespace wwae {

// A tile stays in the second-level cache while it is filled.
constexpr int64_t kTileBytes = 128 * 1024;

// One object per thread: it owns the scratch tiles.
template <typename scalar_t, typename offset_t, Overlap overlap>
class PlaneUnpool {
 public:
  using element = element_t<scalar_t>;
  using sum_t = accumulate_t<scalar_t>;
  using cell_t = std::conditional_t<overlap == Overlap::last, element, sum_t>;
  static constexpr bool kInPlace = overlap != Overlap::mean && std::is_same_v<cell_t, element>;

  // `taps` is measured in the plane and outlives the object.
  PlaneUnpool(const Geometry& geometry, const TapTable& taps)
      : g_(geometry), taps_(taps), whole_(g_.w.whole_windows()) {}

  static int64_t tile_rows(const Geometry& g) {
    const int64_t row_bytes = std::max<int64_t>(1, g.w.input * static_cast<int64_t>(sizeof(cell_t)));
    return std::clamp<int64_t>(kTileBytes / row_bytes, 1, std::max<int64_t>(1, g.h.input));
  }

  // Rows [rows.begin, rows.end) of `map` (H, W) from `x` and `offsets` (OH, OW).
  void tile(const element* x, const offset_t* offsets, Range<int64_t> rows, element* map) {
    const int64_t size = (rows.end - rows.begin) * g_.w.input;
    element* out = map + rows.begin * g_.w.input;
    cell_t* cells;
    if constexpr (kInPlace) {
      std::fill_n(out, size, element{0});
      cells = out;
    } else {
      cells_.assign(size, cell_t{0});
      if constexpr (overlap == Overlap::mean) counts_.assign(size, sum_t{0});
      cells = cells_.data();
    }
    const int64_t first = g_.h.windows_over(rows.begin).begin;
    const int64_t last = g_.h.windows_over(rows.end - 1).end;
    for (int64_t oh = first; oh < last; ++oh) {
      window_row(x + oh * g_.w.output, offsets + oh * g_.w.output, oh, rows, cells);
    }
    if constexpr (!kInPlace) {
      for (int64_t i = 0; i < size; ++i) {
        sum_t value = cells[i];
        if constexpr (overlap == Overlap::mean) value = counts_[i] > 0 ? value / counts_[i] : sum_t{0};
        out[i] = narrow<scalar_t>(value);
      }
    }
  }

 private:
  void window_row(const element* x, const offset_t* offsets, int64_t oh, Range<int64_t> rows, cell_t* cells) {
    const int64_t top = g_.h.start(oh) - rows.begin;  // in rows of the tile
    const int64_t height = rows.end - rows.begin;
    const bool inside = top >= 0 && top + g_.h.extent() <= height;
    const Range<int64_t> whole = inside ? whole_ : Range<int64_t>{g_.w.output, g_.w.output};
    const int64_t start = top * g_.w.input - g_.w.padding;
    for (int64_t ow = 0; ow < whole.begin; ++ow) put_checked(x[ow], offsets[ow], top, height, ow, cells);
    for (int64_t ow = whole.begin; ow < whole.end; ++ow) {
      if (taps_.contains(offsets[ow])) put(x[ow], start + ow * g_.w.stride + taps_[offsets[ow]].step, cells);
    }
    for (int64_t ow = whole.end; ow < g_.w.output; ++ow) put_checked(x[ow], offsets[ow], top, height, ow, cells);
  }

  // A window with taps outside the tile or the map.
  void put_checked(element x, int64_t offset, int64_t top, int64_t height, int64_t ow, cell_t* cells) {
    if (!taps_.contains(offset)) return;
    const int64_t h = top + taps_[offset].row;
    const int64_t w = g_.w.start(ow) + taps_[offset].column;
    if (h >= 0 && h < height && g_.w.contains(w)) put(x, h * g_.w.input + w, cells);
  }

  void put(element x, int64_t at, cell_t* cells) {
    if constexpr (overlap == Overlap::last) {
      cells[at] = x;
    } else {
      cells[at] += widen<scalar_t>(x);
      if constexpr (overlap == Overlap::mean) counts_[at] += 1;
    }
  }

  Geometry g_;
  const TapTable& taps_;
  Range<int64_t> whole_;  // windows of a row whose columns are all real
  std::vector<cell_t> cells_;
  std::vector<sum_t> counts_;
};

// A row of a plane from the row of 2x2/2 windows over it: tap row `r` of `x` and `offsets` (OW). `whole`: the windows
// of the row with both columns inside. Lanes = windows.
template <typename scalar_t>
void unpool_row_2x2(const Axis& axis, Range<int64_t> whole, const element_t<scalar_t>* x, const uint8_t* offsets,
                    int64_t r, element_t<scalar_t>* out) {
  using element = element_t<scalar_t>;
  using lane_t = signed_t<element>;
  const int64_t n = whole.end - whole.begin;
  const int64_t left = axis.start(whole.begin);  // 0, or 1 behind a window that hangs over the left border
  const int64_t right = left + 2 * n;
  if (left > 0) out[0] = offsets[0] == 2 * r + 1 ? x[0] : element{0};
  for (int64_t w = right; w < axis.input; ++w) {
    const bool claimed = w == right && whole.end < axis.output && offsets[whole.end] == 2 * r;
    out[w] = claimed ? x[whole.end] : element{0};
  }
  for_chunks<kLanes<element>>(n, [&](auto width, int64_t i) {
    constexpr int N = width;
    const Vector<element, N> value = load<N>(x + whole.begin + i);
    const Vector<lane_t, N> offset = convert<lane_t, uint8_t, N>(load<N>(offsets + whole.begin + i));
    const Vector<element, N> zero{};
    const Vector<element, N> even = offset == static_cast<lane_t>(2 * r) ? value : zero;
    const Vector<element, N> odd = offset == static_cast<lane_t>(2 * r + 1) ? value : zero;
    store_interleaved<N>(out + left + 2 * i, even, odd);
  });
}

}  // namespace wwae

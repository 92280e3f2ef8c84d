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
#include "cpu/tap_steps.h"

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

  PlaneUnpool(const Geometry& geometry, const TapSteps& steps) : g_(geometry), steps_(steps) {}

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
    const int64_t top = g_.h.start(oh);
    const bool rows_inside = top >= rows.begin && top + g_.h.extent() <= rows.end;
    const Range<int64_t> left = g_.w.windows_with(0);
    const Range<int64_t> right = g_.w.windows_with(g_.w.kernel - 1);
    const int64_t inside_begin = rows_inside ? left.begin : g_.w.output;
    const int64_t inside_end = rows_inside ? std::max(left.begin, right.end) : g_.w.output;
    const int64_t row_start = (top - rows.begin) * g_.w.input - g_.w.padding;
    for (int64_t ow = 0; ow < inside_begin; ++ow) checked(x[ow], offsets[ow], top, ow, rows, cells);
    for (int64_t ow = inside_begin; ow < inside_end; ++ow) {
      const auto tap = static_cast<uint64_t>(static_cast<int64_t>(offsets[ow]));
      if (tap < static_cast<uint64_t>(g_.taps())) put(x[ow], row_start + ow * g_.w.stride + steps_[tap], cells);
    }
    for (int64_t ow = inside_end; ow < g_.w.output; ++ow) checked(x[ow], offsets[ow], top, ow, rows, cells);
  }

  // A window with taps outside the tile or the map.
  void checked(element x, int64_t offset, int64_t top, int64_t ow, Range<int64_t> rows, cell_t* cells) {
    if (offset < 0 || offset >= g_.taps()) return;
    const int64_t h = top + offset / g_.w.kernel * g_.h.dilation;
    const int64_t w = g_.w.position(ow, offset % g_.w.kernel);
    if (h >= rows.begin && h < rows.end && g_.w.contains(w)) put(x, (h - rows.begin) * g_.w.input + w, cells);
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
  const TapSteps& steps_;
  std::vector<cell_t> cells_;
  std::vector<sum_t> counts_;
};

// Row `h` of a plane from the row of 2x2/2 windows above it: tap row `r` of `x` and `offsets` (OW). Lanes = windows.
template <typename scalar_t>
void unpool_row_2x2(const Geometry& g, const element_t<scalar_t>* x, const uint8_t* offsets, int64_t r,
                    element_t<scalar_t>* out) {
  using element = element_t<scalar_t>;
  using lane_t = signed_t<element>;
  const Range<int64_t> whole = {g.w.windows_with(0).begin, g.w.windows_with(1).end};
  const int64_t n = std::max<int64_t>(0, whole.end - whole.begin);
  const int64_t left = g.w.start(whole.begin);  // 0, or 1 with padding
  const int64_t right = left + 2 * n;
  // At most one window hangs over each border; with its other column it still owns one element.
  if (left > 0) out[0] = offsets[0] == 2 * r + 1 ? x[0] : element{0};
  for (int64_t w = right; w < g.w.input; ++w) {
    const int64_t ow = whole.begin + n;
    out[w] = w == right && ow < g.w.output && offsets[ow] == 2 * r ? x[ow] : element{0};
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

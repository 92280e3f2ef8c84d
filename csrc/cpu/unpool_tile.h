// Unpooling to an image (H, W, channels), one channel for a contiguous plane, a tile of rows at a time: the tile is
// cleared, then each window writes, or adds, at its switch, in raster order, while the tile is in the cache.
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
// Larger windows side by side touch few lines of what is cleared: such a tile is so long that clearing it writes to
// memory past the caches.
constexpr int64_t kSparseTaps = 64;
constexpr int64_t kSparseTileBytes = 4 * 1024 * 1024;

// One object per thread: it owns the scratch tiles.
template <typename scalar_t, typename offset_t, Overlap overlap>
class TileUnpool {
 public:
  using element = element_t<scalar_t>;
  using sum_t = accumulate_t<scalar_t>;
  using cell_t = std::conditional_t<overlap == Overlap::last, element, sum_t>;
  static constexpr bool kInPlace = overlap != Overlap::mean && std::is_same_v<cell_t, element>;

  // `taps` is measured in the image and outlives the object.
  TileUnpool(const Geometry& geometry, int64_t channels, const TapTable& taps)
      : g_(geometry), channels_(channels), taps_(taps), whole_(g_.w.whole_windows()) {}

  static int64_t tile_rows(const Geometry& g, int64_t channels) {
    const int64_t row_bytes = std::max<int64_t>(1, g.w.input * channels * static_cast<int64_t>(sizeof(cell_t)));
    return std::clamp<int64_t>((g.taps() > kSparseTaps && g.disjoint() ? kSparseTileBytes : kTileBytes) / row_bytes, 1,
                               std::max<int64_t>(1, g.h.input));
  }

  // Rows [rows.begin, rows.end) of `map` (H, W, channels) from `x` and `offsets` (OH, OW, channels).
  void tile(const element* x, const offset_t* offsets, Range<int64_t> rows, element* map) {
    const int64_t size = (rows.end - rows.begin) * g_.w.input * channels_;
    element* out = map + rows.begin * g_.w.input * channels_;
    cell_t* cells;
    if constexpr (kInPlace) {
      std::fill_n(out, size, element{0});
      cells = out;
    } else {
      cells_.assign(size, cell_t{0});
      if constexpr (overlap == Overlap::mean) counts_.assign(size, sum_t{0});
      cells = cells_.data();
    }
    const int64_t row_size = g_.w.output * channels_;
    const int64_t first = g_.h.windows_over(rows.begin).begin;
    const int64_t last = g_.h.windows_over(rows.end - 1).end;
    for (int64_t oh = first; oh < last; ++oh) {
      window_row(x + oh * row_size, offsets + oh * row_size, g_.h.start(oh) - rows.begin, rows.end - rows.begin, cells);
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
  // A row of windows whose first taps stand in row `top` of the tile, which has `height` rows.
  void window_row(const element* x, const offset_t* offsets, int64_t top, int64_t height, cell_t* cells) {
    const bool inside = top >= 0 && top + g_.h.extent() <= height;
    const Range<int64_t> whole = inside ? whole_ : Range<int64_t>{g_.w.output, g_.w.output};
    checked_windows(x, offsets, top, height, {0, whole.begin}, cells);
    const int64_t* steps = taps_.steps();
    const auto taps = static_cast<uint64_t>(taps_.size());
    const auto window = [&](int64_t i, int64_t corner) {
      const int64_t offset = offsets[i];
      if (static_cast<uint64_t>(offset) < taps) put(x[i], corner + steps[offset], cells);
    };
    const int64_t channels = channels_;
    const int64_t stride = g_.w.stride * channels;
    int64_t corner = (top * g_.w.input + g_.w.start(whole.begin)) * channels;
    if (channels == 1) {  // a plain loop, without one over channels in it
      for (int64_t ow = whole.begin; ow < whole.end; ++ow, corner += stride) window(ow, corner);
    } else {
      for (int64_t ow = whole.begin; ow < whole.end; ++ow, corner += stride) {
        for (int64_t c = 0; c < channels; ++c) window(ow * channels + c, corner + c);
      }
    }
    checked_windows(x, offsets, top, height, {whole.end, g_.w.output}, cells);
  }

  // Windows with taps outside the tile or the map.
  void checked_windows(const element* x, const offset_t* offsets, int64_t top, int64_t height, Range<int64_t> windows,
                       cell_t* cells) {
    for (int64_t ow = windows.begin; ow < windows.end; ++ow) {
      for (int64_t c = 0; c < channels_; ++c) {
        const int64_t offset = offsets[ow * channels_ + c];
        if (!taps_.contains(offset)) continue;
        const int64_t h = top + taps_[offset].row;
        const int64_t w = g_.w.start(ow) + taps_[offset].column;
        if (h < 0 || h >= height || !g_.w.contains(w)) continue;
        put(x[ow * channels_ + c], (h * g_.w.input + w) * channels_ + c, cells);
      }
    }
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
  int64_t channels_;
  const TapTable& taps_;
  Range<int64_t> whole_;  // windows of a row whose columns are all real
  std::vector<cell_t> cells_;
  std::vector<sum_t> counts_;
};

}  // namespace wwae

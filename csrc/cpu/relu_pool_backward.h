// From the gradient of pooled values to that of the map: what the operations with a ReLU before the pooling share.
//
// A window whose value is positive or NaN adds its gradient at its switch; the others stop theirs. A `finish` turns the
// sum that a pixel collects, in float32 for 16-bit elements, into its gradient, which is rounded once:
//
//   finish.channel<N>(c, at, sums)   N neighbouring pixels of channel c; the first one's address in the map is `at`
//   finish.channels<N>(c, at, sums)  N neighbouring channels, from c on, of one pixel
//
// Contiguous: small planes several at a time (small_planes.h); 2x2/2 windows in vectors, lanes = windows, every pixel
// stored once; all others in a tile of rows that stays in the cache while windows add to it in raster order.
// Channels-last: a pixel looks at the windows that may point at it, lanes = channels.
//
// Bytes moved per pixel, s = element size, o = offset size, A = pixels per window: write s, read (2 s + o) / A.
#pragma once

#include <algorithm>
#include <vector>

#include "common/geometry.h"
#include "common/stable.h"
#include "cpu/activation.h"
#include "cpu/claims.h"
#include "cpu/lanes.h"
#include "cpu/small_planes.h"
#include "cpu/tap_table.h"
#include "cpu/tasks.h"
#include "cpu/unpool_2x2.h"
#include "cpu/unpool_tile.h"

namespace wwae {

// Whether ReLU let its input through: for a value, or a mask for a vector of them.
template <typename scalar_t, typename V>
auto passes(V values) {
  return !(Element<scalar_t>::key(values) <= 0);
}

template <typename scalar_t, typename offset_t, typename Finish>
struct ReLUPoolBackward {
  using element = element_t<scalar_t>;
  using sum_t = accumulate_t<scalar_t>;

  const Geometry& g;
  int64_t batch;
  int64_t channels;
  const element* grad;  // (N, C, OH, OW), as are values and offsets
  const element* values;
  const offset_t* offsets;
  element* map;  // (N, C, H, W)
  Finish finish;

  void contiguous() const {
    if constexpr (std::is_same_v<offset_t, uint8_t>) {
      if (SmallPlanes::fit(g)) return small_planes();
      if (is_2x2(g)) return rows_2x2();
    }
    tiles();
  }

  void channels_last() const {
    const Claims rows(g.h);
    const Claims columns(g.w);
    const int64_t row_size = g.w.input * channels;
    parallel_for(0, batch * g.h.input, grain_size(row_size), [&](int64_t begin, int64_t end) {
      for_each_item(begin, end, g.h.input, [&](int64_t n, int64_t h) {
        for (int64_t w = 0; w < g.w.input; ++w) {
          pixel(n, {rows.begin(h), rows.end(h)}, {columns.begin(w), columns.end(w)},
                (n * g.h.input + h) * row_size + w * channels);
        }
      });
    });
  }

 private:
  int64_t windows() const { return g.h.output * g.w.output; }

  void small_planes() const {
    const SmallPlanes small(g);
    struct Scratch {
      std::vector<element> passed;
      std::vector<sum_t> sums;
    };
    const auto scratch = [&] {
      return Scratch{std::vector<element>(small.together() * windows()),
                     std::vector<sum_t>(small.together() * small.pixels())};
    };
    for_each_group(batch * channels, small.together(), small.pixels(), scratch, [&](Scratch& own, Group group) {
      const int64_t first = group.first * windows();
      for_chunks<kLanes<element>>(group.images * windows(), [&](auto width, int64_t i) {
        constexpr int N = width;
        const Vector<element, N> zero{};
        store<N>(own.passed.data() + i,
                 passes<scalar_t>(load<N>(values + first + i)) ? load<N>(grad + first + i) : zero);
      });
      small.add<scalar_t>(group.images, own.passed.data(), offsets + first, own.sums.data());
      for (int64_t plane = 0; plane < group.images; ++plane) {
        finish_run((group.first + plane) % channels, own.sums.data() + plane * small.pixels(), small.pixels(),
                   (group.first + plane) * small.pixels());
      }
    });
  }

  // Turns `n` sums of channel c into the gradients from `out` on.
  void finish_run(int64_t c, const sum_t* sums, int64_t n, int64_t out) const {
    for_chunks<kLanes<sum_t>>(n, [&](auto width, int64_t i) {
      constexpr int N = width;
      finish.template channel<N>(c, out + i, Wide<scalar_t, N>::load_from(sums + i)).round_to(map + out + i);
    });
  }

  void rows_2x2() const {
    const Range<int64_t> whole = g.w.whole_windows();
    parallel_for(0, batch * channels * g.h.input, grain_size(g.w.input), [&](int64_t begin, int64_t end) {
      for_each_item(begin, end, g.h.input, [&](int64_t p, int64_t h) {
        const int64_t oh = (h + g.h.padding) / 2;
        const int64_t first = oh < g.h.output ? p * windows() + oh * g.w.output : -1;
        row_2x2(p % channels, whole, first, (h + g.h.padding) % 2, (p * g.h.input + h) * g.w.input);
      });
    });
  }

  // The row of pixels at `out`, which is tap row r of the row of windows from `first` on, or of none if that is -1.
  void row_2x2(int64_t c, Range<int64_t> whole, int64_t first, int64_t r, int64_t out) const {
    const auto one = [&](int64_t w, int64_t ow, int64_t tap) {
      const bool claims = first >= 0 && ow >= 0 && ow < g.w.output && offsets[first + ow] == tap &&
                          passes<scalar_t>(values[first + ow]);
      const element x = claims ? grad[first + ow] : element{0};
      finish.template channel<1>(c, out + w, Wide<scalar_t, 1>::widened(&x)).round_to(map + out + w);
    };
    const int64_t n = first >= 0 ? whole.end - whole.begin : 0;
    const int64_t left = n > 0 ? g.w.start(whole.begin) : 0;  // 1 behind a window that hangs over the left border
    for (int64_t w = 0; w < left; ++w) one(w, 0, 2 * r + 1);
    for (int64_t w = left + 2 * n; w < g.w.input; ++w) {
      one(w, (w + g.w.padding) / 2, 2 * r + (w + g.w.padding) % 2);
    }
    using lane_t = signed_t<element>;
    for_chunks<kLanes<element>>(n, [&](auto width, int64_t i) {
      constexpr int N = width;
      const int64_t window = first + whole.begin + i;
      const Vector<element, N> zero{};
      const Vector<element, N> passed = passes<scalar_t>(load<N>(values + window)) ? load<N>(grad + window) : zero;
      const Vector<lane_t, N> offset = convert<lane_t, uint8_t, N>(load<N>(offsets + window));
      element pair[2 * N];
      store_interleaved<N>(pair, offset == static_cast<lane_t>(2 * r) ? passed : zero,
                           offset == static_cast<lane_t>(2 * r + 1) ? passed : zero);
      for (int half = 0; half < 2; ++half) {
        const int64_t at = out + left + 2 * i + half * N;
        finish.template channel<N>(c, at, Wide<scalar_t, N>::widened(pair + half * N)).round_to(map + at);
      }
    });
  }

  void tiles() const {
    const TapTable taps(g, g.w.input, 1);
    const int64_t row_bytes = g.w.input * static_cast<int64_t>(sizeof(sum_t));
    const int64_t tile_rows = std::clamp<int64_t>(kTileBytes / row_bytes, 1, g.h.input);
    const int64_t tile_count = ceil_divide(g.h.input, tile_rows);
    const int64_t grain = grain_size(tile_rows * g.w.input);
    parallel_for(0, batch * channels * tile_count, grain, [&](int64_t begin, int64_t end) {
      std::vector<sum_t> sums;
      for_each_item(begin, end, tile_count, [&](int64_t p, int64_t tile) {
        const int64_t first = tile * tile_rows;
        const Range<int64_t> rows = {first, std::min(first + tile_rows, g.h.input)};
        sums.assign((rows.end - rows.begin) * g.w.input, sum_t{0});
        add_windows(p, taps, rows, sums.data());
        finish_run(p % channels, sums.data(), static_cast<int64_t>(sums.size()), (p * g.h.input + first) * g.w.input);
      });
    });
  }

  // Adds the windows of plane p onto `sums`, which are the pixels of `rows`.
  void add_windows(int64_t p, const TapTable& taps, Range<int64_t> rows, sum_t* sums) const {
    const int64_t last = g.h.windows_over(rows.end - 1).end;
    for (int64_t oh = g.h.windows_over(rows.begin).begin; oh < last; ++oh) {
      const int64_t first = p * windows() + oh * g.w.output;
      for (int64_t ow = 0; ow < g.w.output; ++ow) {
        const int64_t offset = offsets[first + ow];
        if (!taps.contains(offset) || !passes<scalar_t>(values[first + ow])) continue;
        const int64_t h = g.h.start(oh) + taps[offset].row;
        const int64_t w = g.w.start(ow) + taps[offset].column;
        if (h < rows.begin || h >= rows.end || !g.w.contains(w)) continue;
        sums[(h - rows.begin) * g.w.input + w] += widen<scalar_t>(grad[first + ow]);
      }
    }
  }

  // All channels of the pixel at `out`; `rows`, `columns`: the claims on it.
  void pixel(int64_t n, Range<const Claim*> rows, Range<const Claim*> columns, int64_t out) const {
    using lane_t = offset_lane_t<sum_t, offset_t>;
    for_offset_chunks<sum_t, offset_t, 4>(channels, [&](auto width, int64_t i) {
      constexpr int U = vectors_in<sum_t>(width);
      constexpr int N = width / U;
      const Vector<sum_t, N> zero{};
      Vector<sum_t, N> sums[U]{};
      for (const Claim* row = rows.begin; row < rows.end; ++row) {
        for (const Claim* column = columns.begin; column < columns.end; ++column) {
          const int64_t window = n * windows() + row->window * g.w.output + column->window;
          const auto tap = static_cast<lane_t>(row->tap * g.w.kernel + column->tap);
#pragma GCC unroll 4
          for (int u = 0; u < U; ++u) {
            const int64_t at = window * channels + i + u * N;
            const Vector<sum_t, N> value = widen<scalar_t, N>(load<N>(values + at));
            const auto claims = convert<lane_t, offset_t, N>(load<N>(offsets + at)) == tap;
            const auto open = !(value <= 0);
            sums[u] += (claims & open) ? widen<scalar_t, N>(load<N>(grad + at)) : zero;
          }
        }
      }
      for (int u = 0; u < U; ++u) {
        const int64_t c = i + u * N;
        const Wide<scalar_t, N> wide = {{sums[u]}};
        finish.template channels<N>(c, out + c, wide).round_to(map + out + c);
      }
    });
  }
};

}  // namespace wwae

// Max pooling of a contiguous plane (H, W), one row of windows at a time; see pool_kernel.h for the result.
//
// 2x2/2 and 3x3/2 windows whose taps are all real keep every tap in registers. All others go first down the rows of the
// window (lanes = columns of x), then across its columns (lanes = windows): KH unit-stride steps per column and KW
// strided steps per window are fewer than KH * KW strided steps per window.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "common/geometry.h"
#include "cpu/lanes.h"

namespace wwae {

// One object per thread: it owns the scratch rows.
template <typename scalar_t, typename offset_t, typename Activation>
class PlanePool {
 public:
  using E = Element<scalar_t>;
  using element = typename E::type;
  using lane_t = offset_lane_t<element, offset_t>;

  // `columns`: the real taps across of every window; it outlives the object, and so does `activation`.
  PlanePool(const Geometry& geometry, const std::vector<Range<int64_t>>& columns, const Activation& activation)
      : g_(geometry), columns_(columns), activation_(activation) {
    const bool halves = g_.h.dilation == 1 && g_.w.dilation == 1 && g_.w.stride == 2;
    square_ = halves && g_.h.kernel == g_.w.kernel ? g_.w.kernel : 0;
    interior_ = g_.w.whole_windows();
  }

  // `plane`: (H, W) of a channel; `rows`: the real taps down of the windows `oh`; `values`, `offsets`: row `oh` of
  // (OH, OW).
  void row(const element* plane, int64_t channel, Range<int64_t> rows, int64_t oh, element* values, offset_t* offsets) {
    channel_ = channel;
    if (rows.begin >= rows.end) {
      std::fill_n(values, g_.w.output, E::kLowest);
      std::fill_n(offsets, g_.w.output, offset_t{0});
    } else if (rows.end - rows.begin == g_.h.kernel && (square_ == 2 || square_ == 3)) {
      for (int64_t ow = 0; ow < interior_.begin; ++ow) window(plane, rows, oh, ow, values, offsets);
      const element* x = plane + g_.h.start(oh) * g_.w.input + g_.w.start(interior_.begin);
      if (square_ == 2) {
        interior<2>(x, values + interior_.begin, offsets + interior_.begin);
      } else {
        interior<3>(x, values + interior_.begin, offsets + interior_.begin);
      }
      for (int64_t ow = interior_.end; ow < g_.w.output; ++ow) window(plane, rows, oh, ow, values, offsets);
    } else {
      reduce_rows(plane, rows, oh);
      reduce_columns(values, offsets);
    }
  }

 private:
  // All windows of the interior; `x` is the first tap of the first one.
  template <int K>
  void interior(const element* x, element* values, offset_t* offsets) const {
    for_offset_chunks<element, offset_t>(interior_.end - interior_.begin, [&](auto width, int64_t i) {
      constexpr int N = width;
      Vector<element, N> best;
      Vector<key_t<element>, N> best_key;
      Vector<lane_t, N> offset{};
      const auto activate = activation_.template channel<N>(channel_);
#pragma GCC unroll 3
      for (int r = 0; r < K; ++r) {
        const element* row = x + r * g_.w.input + 2 * i;
#pragma GCC unroll 3
        for (int c = 0; c < K; ++c) {
          const Vector<element, N> value = activate(c == 0 ? load_even<N>(row) : load_odd<N>(row + c - 1));
          const Vector<key_t<element>, N> key = E::key(value);
          if (r == 0 && c == 0) {
            best = value;
            best_key = key;
          } else {
            const auto better = E::beats(key, best_key);
            best = better ? value : best;
            best_key = better ? key : best_key;
            offset = better ? broadcast<N>(static_cast<lane_t>(r * K + c)) : offset;
          }
        }
      }
      store<N>(values + i, best);
      store<N>(offsets + i, convert<offset_t, lane_t, N>(offset));
    });
  }

  // One window, tap after tap.
  void window(const element* plane, Range<int64_t> rows, int64_t oh, int64_t ow, element* values,
              offset_t* offsets) const {
    const Range<int64_t> columns = columns_[ow];
    const auto activate = activation_.template channel<1>(channel_);
    element best = E::kLowest;
    int64_t offset = columns.begin < columns.end ? rows.begin * g_.w.kernel + columns.begin : 0;
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      for (int64_t c = columns.begin; c < columns.end; ++c) {
        const element value = activate(plane[g_.h.position(oh, r) * g_.w.input + g_.w.position(ow, c)]);
        if (E::beats(E::key(value), E::key(best))) {
          best = value;
          offset = r * g_.w.kernel + c;
        }
      }
    }
    values[ow] = best;
    offsets[ow] = static_cast<offset_t>(offset);
  }

  // Down the window: for every column under the row of windows the best of its rows, and r * KW of that row. Column i
  // of the scratch rows stands at w = i - padding; columns outside x hold -inf with an offset that loses every tie.
  void reduce_rows(const element* plane, Range<int64_t> rows, int64_t oh) {
    const int64_t covered = g_.w.position(g_.w.output - 1, g_.w.kernel - 1) + 1;  // columns of x under the windows
    const int64_t columns = std::min(covered, g_.w.input);
    if (best_.empty()) {
      best_.assign(covered + g_.w.padding + kSlack, E::kLowest);
      offset_.assign(covered + g_.w.padding + kSlack, kOutside);
    }
    const element* x = plane + g_.h.position(oh, rows.begin) * g_.w.input;
    element* column_best = best_.data() + g_.w.padding;
    lane_t* column_offset = offset_.data() + g_.w.padding;
    for_offset_chunks<element, offset_t, 4>(columns, [&](auto width, int64_t i) {
      constexpr int U = vectors_in<element>(width);
      constexpr int N = width / U;
      Vector<element, N> best[U];
      Vector<key_t<element>, N> best_key[U];
      Vector<lane_t, N> offset[U];
      const auto activate = activation_.template channel<N>(channel_);
      for (int u = 0; u < U; ++u) {
        best[u] = activate(load<N>(x + i + u * N));
        best_key[u] = E::key(best[u]);
        offset[u] = broadcast<N>(static_cast<lane_t>(rows.begin * g_.w.kernel));
      }
      for (int64_t r = rows.begin + 1; r < rows.end; ++r) {
        const element* row = x + (r - rows.begin) * g_.h.dilation * g_.w.input + i;
#pragma GCC unroll 4
        for (int u = 0; u < U; ++u) {
          const Vector<element, N> value = activate(load<N>(row + u * N));
          const Vector<key_t<element>, N> key = E::key(value);
          const auto better = E::beats(key, best_key[u]);
          best[u] = better ? value : best[u];
          best_key[u] = better ? key : best_key[u];
          offset[u] = better ? broadcast<N>(static_cast<lane_t>(r * g_.w.kernel)) : offset[u];
        }
      }
      for (int u = 0; u < U; ++u) {
        store<N>(column_best + i + u * N, best[u]);
        store<N>(column_offset + i + u * N, offset[u]);
      }
    });
  }

  // Across the window: the best of its columns.
  void reduce_columns(element* values, offset_t* offsets) const {
    switch (g_.w.stride) {
      case 1:
        return reduce_columns(values, offsets, [](const auto* row, auto width) { return load<width>(row); });
      case 2:
        return reduce_columns(values, offsets, [](const auto* row, auto width) { return load_even<width>(row); });
      default:
        return reduce_columns(values, offsets,
                              [this](const auto* row, auto width) { return load_strided<width>(row, g_.w.stride); });
    }
  }

  // A later column may hold the tie, or the NaN, of an earlier row: offsets tell which tap comes first.
  template <typename Load>
  void reduce_columns(element* values, offset_t* offsets, const Load& load_windows) const {
    for_offset_chunks<element, offset_t>(g_.w.output, [&](auto width, int64_t i) {
      constexpr int N = width;
      const element* column_best = best_.data() + i * g_.w.stride;
      const lane_t* column_offset = offset_.data() + i * g_.w.stride;
      Vector<element, N> best = load_windows(column_best, width);
      Vector<key_t<element>, N> best_key = E::key(best);
      Vector<lane_t, N> offset = load_windows(column_offset, width);
      for (int64_t c = 1; c < g_.w.kernel; ++c) {
        const Vector<element, N> value = load_windows(column_best + c * g_.w.dilation, width);
        const Vector<lane_t, N> candidate =
            load_windows(column_offset + c * g_.w.dilation, width) + static_cast<lane_t>(c);
        const Vector<key_t<element>, N> key = E::key(value);
        const auto both_nan = E::is_nan(key) & E::is_nan(best_key);
        const auto earlier_tie = (key == best_key) & (candidate < offset) & !both_nan;
        const auto later_nan = both_nan & (candidate > offset);
        const auto better = (E::beats(key, best_key) & !both_nan) | earlier_tie | later_nan;
        best = better ? value : best;
        best_key = better ? key : best_key;
        offset = better ? candidate : offset;
      }
      offset = offset >= kOutside ? broadcast<N>(lane_t{0}) : offset;
      store<N>(values + i, best);
      store<N>(offsets + i, convert<offset_t, lane_t, N>(offset));
    });
  }

  // Offset of a column outside x, above every real one; adding a column number to it does not overflow.
  static constexpr lane_t kOutside = std::numeric_limits<lane_t>::max() / 2;
  static constexpr int64_t kSlack = kVectorBytes;  // elements a vector load may read past the last window

  Geometry g_;
  const std::vector<Range<int64_t>>& columns_;
  const Activation& activation_;
  int64_t channel_ = 0;  // of the plane
  int64_t square_;  // K of a K x K window with stride 2 across, or 0
  Range<int64_t> interior_;  // windows of a row whose columns are all real
  std::vector<element> best_;  // [columns under the windows]
  std::vector<lane_t> offset_;
};

}  // namespace wwae

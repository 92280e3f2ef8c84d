// The softmax of one large window of a contiguous plane: lanes are the columns of a row of taps, side by side in memory
// where the same tap of neighbouring windows is not.
#pragma once

#include "cpu/soft_window.h"

namespace wwae {

// Windows so far apart, and so wide, that a row of one fills lanes better than a tap of many.
inline bool wide_windows(const Axis& axis, int64_t channels) {
  return channels == 1 && axis.stride > 2 && axis.kernel >= 8;
}

template <typename scalar_t>
struct WideWindow {
  using sum_t = accumulate_t<scalar_t>;

  const Taps<element_t<scalar_t>>& taps;
  sum_t maximum = -std::numeric_limits<sum_t>::infinity();
  sum_t total = 0;
  sum_t mean = 0;
  sum_t x = 0;
  sum_t y = 0;

  // As those of SoftWindow, for one window; `powers` has a row of `kernel` for every row of taps.
  WideWindow(const Taps<element_t<scalar_t>>& taps, sum_t beta, const TapPositions<sum_t>& positions, sum_t* powers)
      : taps(taps) {
    constexpr int L = kLanes<sum_t>;
    using lanes_t = Vector<sum_t, L>;
    lanes_t highest = lanes_t{} - std::numeric_limits<sum_t>::infinity();
    each_row([&](auto width, int64_t r, int64_t c) {
      const auto value = tap<width>(r, c);
      if constexpr (width == L) {
        highest = value > highest ? value : highest;
      } else {
        for_each_lane<width>(value, [&](sum_t one) { maximum = std::max(maximum, one); });  // max(a, NaN) is a
      }
    });
    for_each_lane<L>(highest, [&](sum_t one) { maximum = std::max(maximum, one); });
    lanes_t sums[4] = {};
    sum_t rest[4] = {};
    each_row([&](auto width, int64_t r, int64_t c) {
      constexpr int N = width;
      const Below<sum_t, N> of(tap<N>(r, c), broadcast<N>(maximum));
      const Vector<sum_t, N> power = of.power(broadcast<N>(beta));
      if (powers != nullptr) store<N>(powers + r * taps.kernel + c, power);
      const Vector<sum_t, N> parts[4] = {power, power * of.below, power * load<N>(positions.columns.data() + c),
                                         power * positions.rows[r]};
      for (int i = 0; i < 4; ++i) {
        if constexpr (N == L) {
          sums[i] += parts[i];
        } else {
          for_each_lane<N>(parts[i], [&](sum_t one) { rest[i] += one; });
        }
      }
    });
    for (int i = 0; i < 4; ++i) for_each_lane<L>(sums[i], [&](sum_t one) { rest[i] += one; });
    total = rest[0];
    mean = rest[1] / total;
    x = within_bounds(rest[2] / total);
    y = within_bounds(rest[3] / total);
  }

  template <int N>
  Vector<sum_t, N> tap(int64_t r, int64_t c) const {
    return widen<scalar_t, N>(load<N>(taps.corner + r * taps.line + c));
  }

  // Runs `body(width, r, c)` for chunks of columns from c on.
  template <typename Body>
  void each_row(const Body& body) const {
    for (int64_t r = taps.rows.begin; r < taps.rows.end; ++r) {
      for_separate_chunks<kLanes<sum_t>>(
          taps.columns.end, [&](auto width, int64_t c) { body(width, r, c); }, taps.columns.begin);
    }
  }

  template <int N, typename Body>
  static void for_each_lane(Vector<sum_t, N> lanes, const Body& body) {
    if constexpr (N == 1) {
      body(lanes);
    } else {
      for (int i = 0; i < N; ++i) body(lanes[i]);
    }
  }
};

}  // namespace wwae

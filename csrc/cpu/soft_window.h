// The softmax of a window, for the lanes of a vector: what soft_argmax_pool2d and its gradient share.
#pragma once

#include <limits>
#include <vector>

#include "cpu/exponential.h"
#include "cpu/tap_lanes.h"

namespace wwae {

// Positions of the taps of each axis: evenly from -1 to 1.
template <typename sum_t>
struct TapPositions {
  std::vector<sum_t> columns;
  std::vector<sum_t> rows;

  explicit TapPositions(const Geometry& g) : columns(of(g.w)), rows(of(g.h)) {}

 private:
  static std::vector<sum_t> of(const Axis& axis) {
    std::vector<sum_t> positions(axis.kernel, 0);
    for (int64_t tap = 0; tap < axis.kernel && axis.kernel > 1; ++tap) {
      positions[tap] = static_cast<sum_t>(2 * tap - (axis.kernel - 1)) / static_cast<sum_t>(axis.kernel - 1);
    }
    return positions;
  }
};

// beta (N, C) in any strides, as one value a plane; NaN where it is negative or not finite.
template <typename sum_t>
std::vector<sum_t> plane_values(const Tensor& beta) {
  const auto* values = static_cast<const sum_t*>(beta.const_data_ptr());
  std::vector<sum_t> planes;
  planes.reserve(beta.numel());
  for (int64_t n = 0; n < beta.size(0); ++n) {
    for (int64_t c = 0; c < beta.size(1); ++c) {
      const sum_t value = values[n * beta.stride(0) + c * beta.stride(1)];
      const bool usable = value >= 0 && value < std::numeric_limits<sum_t>::infinity();
      planes.push_back(usable ? value : std::numeric_limits<sum_t>::quiet_NaN());
    }
  }
  return planes;
}

// Where the taps of N windows stand in memory.
template <typename element>
struct Taps {
  const element* corner;  // tap (0, 0) of the first window, perhaps outside of the map
  Range<int64_t> rows;  // the real taps
  Range<int64_t> columns;
  int64_t line;  // from a row to the next, in elements
  int64_t step;  // from a column to the next
  int64_t stride;  // from a lane to the next
  int64_t kernel;  // columns of a window

  // Of the windows from (oh, ow) on of one of the images x (images, H, W, channels), or of the channels from `channel`
  // on of that one. `real`: the real columns.
  Taps(const Geometry& g, const element* x, int64_t channels, int64_t image, int64_t oh, int64_t ow,
       Range<int64_t> real, int64_t channel)
      : corner(x + ((image * g.h.input + g.h.start(oh)) * g.w.input + g.w.start(ow)) * channels + channel),
        rows(g.h.taps(oh)),
        columns(real),
        line(g.w.input * channels),
        step(channels),
        stride(channels > 1 ? 1 : g.w.stride),
        kernel(g.w.kernel) {}
};

// How far taps lie below the maximum of their window: equal infinities by 0, and by 0 also where it is infinitely far.
template <typename sum_t, int N>
struct Below {
  using lanes_t = Vector<sum_t, N>;

  lanes_t below;
  lanes_t counts;  // 1, or 0 where it is infinitely far

  Below(lanes_t value, lanes_t maximum) {
    const lanes_t zero{};
    const lanes_t far = value == maximum ? zero : value - maximum;
    const auto lost = far == -std::numeric_limits<sum_t>::infinity();
    below = lost ? zero : far;
    counts = lost ? zero : zero + 1;
  }

  lanes_t power(lanes_t beta) const { return counts * exponential<sum_t, N>(beta * below); }
};

template <typename lanes_t>
lanes_t within_bounds(lanes_t position) {  // a NaN stays
  const lanes_t one = lanes_t{} + 1;
  return position > 1 ? one : (position < -1 ? -one : position);
}

// Softmax of beta times the taps, the maximum subtracted. A tap infinitely far below the maximum has no power.
template <typename scalar_t, int N>
struct SoftWindow {
  using sum_t = accumulate_t<scalar_t>;
  using lanes_t = Vector<sum_t, N>;

  const Taps<element_t<scalar_t>>& taps;
  lanes_t maximum;
  lanes_t total{};  // of the powers
  lanes_t mean{};  // of the values, less the maximum
  lanes_t x{};  // mean column
  lanes_t y{};  // mean row

  // `powers`, unless null: kept here, N for every tap (r, c) at (r * kernel + c) * N.
  SoftWindow(const Taps<element_t<scalar_t>>& taps, lanes_t beta, const TapPositions<sum_t>& positions, sum_t* powers)
      : taps(taps), maximum(lanes_t{} - std::numeric_limits<sum_t>::infinity()) {
    for (int64_t r = taps.rows.begin; r < taps.rows.end; ++r) {
      for (int64_t c = taps.columns.begin; c < taps.columns.end; ++c) {
        const lanes_t value = tap(r, c);
        prefetch_ahead(place(r, c));
        maximum = value > maximum ? value : maximum;  // a NaN shows in the powers
      }
    }
    for (int64_t r = taps.rows.begin; r < taps.rows.end; ++r) {
      lanes_t row{};
      for (int64_t c = taps.columns.begin; c < taps.columns.end; ++c) {
        const Below<sum_t, N> of(tap(r, c), maximum);
        const lanes_t power = of.power(beta);
        if (powers != nullptr) store<N>(powers + (r * taps.kernel + c) * N, power);
        row += power;
        mean += power * of.below;
        x += power * positions.columns[c];
      }
      total += row;
      y += row * positions.rows[r];
    }
    mean /= total;
    // Rounding may carry a mean of bounds past the bound, which it is then.
    x = within_bounds(x / total);
    y = within_bounds(y / total);
  }

  lanes_t tap(int64_t r, int64_t c) const {
    return widen<scalar_t, N>(load_tap<N>(place(r, c), taps.stride, c, taps.kernel));
  }

  const element_t<scalar_t>* place(int64_t r, int64_t c) const { return taps.corner + r * taps.line + c * taps.step; }
};

}  // namespace wwae

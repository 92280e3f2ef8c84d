// Linear interpolation between the taps of an axis: what soft_argmax_unpool2d and its gradient share.
#pragma once

#include "cuda/soft_window.cuh"

namespace wwae {

// A position of [-1, 1] between two of `kernel` taps; beyond that it counts as the nearer end, and a NaN lies between
// the first two. A single tap has it all, whatever the position.
template <typename sum_t>
struct Interpolation {
  int32_t lower = 0;  // the tap below
  sum_t share = 0;  // of the tap above
  sum_t slope = 0;  // of that share in the position

  __device__ Interpolation(sum_t position, int32_t kernel) {
    if (kernel == 1) return;
    const sum_t scale = static_cast<sum_t>(kernel - 1) / 2;
    const sum_t at = (within_bounds(position) + 1) * scale;
    const int32_t floor = at == at ? static_cast<int32_t>(at) : 0;
    lower = floor < kernel - 2 ? floor : kernel - 2;
    share = at - static_cast<sum_t>(lower);
    slope = position > 1 || position < -1 ? 0 : scale;
  }

  __device__ sum_t weight(int32_t tap) const { return tap == lower ? 1 - share : tap == lower + 1 ? share : 0; }

  // Derivative of the weight in the position.
  __device__ sum_t weight_slope(int32_t tap) const { return tap == lower ? -slope : tap == lower + 1 ? slope : 0; }
};

// The product, 0 where the weight is 0, whatever x is.
template <typename sum_t>
__device__ inline sum_t times(sum_t weight, sum_t x) {
  return weight == 0 ? 0 : weight * x;
}

// A value and its interpolation along both axes of its window.
template <typename sum_t>
struct Placed {
  sum_t value;
  Interpolation<sum_t> across;
  Interpolation<sum_t> down;

  __device__ Placed(const Geometry32& g, sum_t value, sum_t x, sum_t y)
      : value(value), across(x, g.w.kernel), down(y, g.h.kernel) {}

  // What tap (r, c) gets.
  __device__ sum_t at(int32_t r, int32_t c) const {
    const sum_t row = down.weight(r);
    return row == 0 ? 0 : times(times(across.weight(c), row), value);
  }
};

}  // namespace wwae

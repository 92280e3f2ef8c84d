// Linear interpolation between the taps of an axis, for the lanes of a vector: what soft_argmax_unpool2d and its
// gradient share.
#pragma once

#include "cpu/tap_lanes.h"

namespace wwae {

// A position of [-1, 1] between two taps; beyond that it counts as the nearer end, and a NaN lies between the first
// two.
template <typename sum_t, int N>
struct Interpolation {
  using lanes_t = Vector<sum_t, N>;

  lanes_t lower{};  // the tap below
  lanes_t share{};  // of the tap above
  lanes_t slope{};  // of that share in the position

  Interpolation(lanes_t position, int64_t kernel) {
    if (kernel == 1) return;  // the only tap has it all, whatever the position
    const lanes_t zero{};
    const lanes_t one = zero + 1;
    const sum_t scale = static_cast<sum_t>(kernel - 1) / 2;
    const lanes_t clamped = position > 1 ? one : (position < -1 ? -one : position);
    const lanes_t at = (clamped + 1) * scale;
    const auto last = static_cast<sum_t>(kernel - 2);
    const lanes_t floor = convert<sum_t, int32_t, N>(convert<int32_t, sum_t, N>(at == at ? at : zero));
    lower = floor < last ? floor : zero + last;
    share = at - lower;
    slope = position > 1 ? zero : (position < -1 ? zero : zero + scale);
  }

  // Of tap `tap`, a number of its own for every lane.
  lanes_t weight(lanes_t tap) const { return lower == tap ? 1 - share : (lower == tap - 1 ? share : lanes_t{}); }

  // Derivative of the weight in the position.
  lanes_t weight_slope(lanes_t tap) const { return lower == tap ? -slope : (lower == tap - 1 ? slope : lanes_t{}); }
};

// The number of a tap, for all lanes.
template <typename sum_t, int N>
Vector<sum_t, N> tap_number(int64_t tap) {
  return broadcast<N>(static_cast<sum_t>(tap));
}

// The product, 0 where the weight is 0, whatever x is.
template <typename lanes_t>
lanes_t times(lanes_t weight, lanes_t x) {
  return weight == 0 ? lanes_t{} : weight * x;
}

}  // namespace wwae

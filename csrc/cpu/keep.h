// Taking the values away from windows that have no pixel: 0 by the bits of the value, since a branch on which window
// it is cannot be predicted. A mask is -1 for a window that keeps its value and 0 for one that does not.
#pragma once

#include <bit>
#include <cstdint>

#include "cpu/lanes.h"

namespace wwae {

// The element where `keep` is -1, 0 where it is 0.
template <typename element>
element kept(element value, int32_t keep) {
  using bits_t = signed_t<element>;
  return std::bit_cast<element>(static_cast<bits_t>(std::bit_cast<bits_t>(value) & static_cast<bits_t>(keep)));
}

template <typename element>
void drop(element* values, const int32_t* keeps, int64_t n) {
  for (int64_t i = 0; i < n; ++i) values[i] = kept(values[i], keeps[i]);
}

// Whether no lane of a mask is 0.
template <int N>
bool every_lane(Vector<int32_t, N> keeps) {
  if constexpr (N == 1) {
    return keeps != 0;
  } else {
    int32_t result = -1;
    for (int i = 0; i < N; ++i) result &= keeps[i];
    return result != 0;
  }
}

// for_chunks of masks, which `body(width, i)` gives: whether none has a lane of 0.
template <typename Body>
bool every_lane_of_chunks(int64_t n, const Body& body) {
  constexpr int kWidest = kLanes<int32_t>;
  Vector<int32_t, kWidest> all = broadcast<kWidest>(int32_t{-1});
  bool of_short_rows = true;
  for_chunks<kWidest>(n, [&](auto width, int64_t i) {
    constexpr int N = width;
    if constexpr (N == kWidest) {
      all &= body(width, i);
    } else {
      of_short_rows &= every_lane<N>(body(width, i));
    }
  });
  return of_short_rows && every_lane<kWidest>(all);
}

}  // namespace wwae

// Sums over everything but the channel, in an order that neither threads nor instruction sets change.
//
// Each plane, or each fixed share of rows, is summed on its own, by one thread; then these sums are added in order, in
// float64. Inside a plane kSumLanes sums run side by side, whatever the width of a register.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/stable.h"
#include "cpu/activation.h"
#include "cpu/tasks.h"

namespace wwae {

constexpr int kSumLanes = 16;

// The sum of the lanes, from the first to the last.
template <typename V, int kCount>
double sum_of_lanes(const V (&parts)[kCount]) {
  double total = 0;
  for (const V& part : parts) {
    if constexpr (std::is_arithmetic_v<V>) {
      total += part;
    } else {
      for (size_t i = 0; i < sizeof(V) / sizeof(part[0]); ++i) total += part[i];
    }
  }
  return total;
}

// Adds each of the lanes to the sum of its own channel.
template <typename Lanes>
void add_lanes(const Lanes& lanes, double* sums) {
  for (int p = 0; p < Lanes::kParts; ++p) {
    for (int i = 0; i < Lanes::kLanesOfPart; ++i) sums[p * Lanes::kLanesOfPart + i] += lanes.lane(p, i);
  }
}

// Contiguous maps: `plane(p, sums)` writes the `terms` sums of plane p = n * channels + c. Returns (terms, channels).
template <typename Plane>
std::vector<double> sum_planes(int64_t batch, int64_t channels, int64_t terms, int64_t plane_size, const Plane& plane) {
  std::vector<double> partial(batch * channels * terms);
  parallel_for(0, batch * channels, grain_size(plane_size), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) plane(p, partial.data() + p * terms);
  });
  std::vector<double> totals(terms * channels, 0);
  for (int64_t p = 0; p < batch * channels; ++p) {
    for (int64_t k = 0; k < terms; ++k) totals[k * channels + p % channels] += partial[p * terms + k];
  }
  return totals;
}

// Channels-last maps: `row(r, sums)` adds row r of `rows` onto sums (terms, channels), which are returned.
template <typename Row>
std::vector<double> sum_rows(int64_t rows, int64_t channels, int64_t terms, int64_t row_size, const Row& row) {
  constexpr int64_t kMostShares = 64;
  const int64_t shares = std::min(rows, kMostShares);
  const int64_t width = terms * channels;
  std::vector<double> partial(shares * width, 0);
  parallel_for(0, shares, grain_size(rows / std::max<int64_t>(1, shares) * row_size), [&](int64_t begin, int64_t end) {
    for (int64_t share = begin; share < end; ++share) {
      for (int64_t r = rows * share / shares; r < rows * (share + 1) / shares; ++r)
        row(r, partial.data() + share * width);
    }
  });
  std::vector<double> totals(width, 0);
  for (int64_t share = 0; share < shares; ++share) {
    for (int64_t i = 0; i < width; ++i) totals[i] += partial[share * width + i];
  }
  return totals;
}

}  // namespace wwae

// Mean and variance of every channel in one pass over the map.
//
// What is summed is the distance d of each element from the first one of its channel, and d * d, in float64: with a
// large mean the two sums stay small, so their difference keeps its digits, and a first element far from the others
// costs half of the digits of a float64 at most. Bytes moved per element: its own.
#pragma once

#include <cmath>
#include <vector>

#include "cpu/channel_sums.h"

namespace wwae {

struct ChannelStatistics {
  std::vector<double> mean;
  std::vector<double> variance;  // divided by the count
};

// The distances of kSumLanes elements from as many origins, and their squares, added up.
template <typename scalar_t>
struct DistanceSums {
  static constexpr int N = kLanes<double>;
  static constexpr int kParts = kSumLanes / N;

  Vector<double, N> distance[kParts]{};
  Vector<double, N> square[kParts]{};

  template <typename Origin>
  void add(const element_t<scalar_t>* x, const Origin& origin) {
    for (int p = 0; p < kParts; ++p) {
      const auto wide = widen<scalar_t, N>(load<N>(x + p * N));
      const Vector<double, N> d = convert<double, accumulate_t<scalar_t>, N>(wide) - origin(p);
      distance[p] += d;
      square[p] += d * d;
    }
  }
};

// Both sums over a plane, as sums[0] and sums[1].
template <typename scalar_t>
void sum_distances(const element_t<scalar_t>* x, int64_t size, double origin, double* sums) {
  DistanceSums<scalar_t> total;
  const auto shift = broadcast<DistanceSums<scalar_t>::N>(origin);
  int64_t i = 0;
  for (; i + kSumLanes <= size; i += kSumLanes) total.add(x + i, [&](int) { return shift; });
  sums[0] = sum_of_lanes(total.distance);
  sums[1] = sum_of_lanes(total.square);
  for (; i < size; ++i) {
    const double d = widen<scalar_t>(x[i]) - origin;
    sums[0] += d;
    sums[1] += d * d;
  }
}

// Both sums over `width` pixels of all channels, added onto sums (2, channels).
template <typename scalar_t>
void sum_row_distances(const element_t<scalar_t>* x, int64_t width, int64_t channels, const double* origin,
                       double* sums) {
  constexpr int N = DistanceSums<scalar_t>::N;
  int64_t c = 0;
  for (; c + kSumLanes <= channels; c += kSumLanes) {
    DistanceSums<scalar_t> total;
    for (int64_t w = 0; w < width; ++w) {
      total.add(x + w * channels + c, [&](int p) { return load<N>(origin + c + p * N); });
    }
    for (int p = 0; p < kSumLanes / N; ++p) {
      double* sum = sums + c + p * N;
      store<N>(sum, load<N>(sum) + total.distance[p]);
      store<N>(sum + channels, load<N>(sum + channels) + total.square[p]);
    }
  }
  for (; c < channels; ++c) {
    double distance = 0;
    double square = 0;
    for (int64_t w = 0; w < width; ++w) {
      const double d = widen<scalar_t>(x[w * channels + c]) - origin[c];
      distance += d;
      square += d * d;
    }
    sums[c] += distance;
    sums[channels + c] += square;
  }
}

// `x`: elements of a map of `size` (N, C, H, W) in `layout`.
template <typename scalar_t>
ChannelStatistics channel_statistics(const element_t<scalar_t>* x, const Sizes& size, MemoryFormat layout) {
  const int64_t channels = size[1];
  const int64_t plane = size[2] * size[3];
  const int64_t count = size[0] * plane;
  const bool contiguous = layout == MemoryFormat::Contiguous;
  std::vector<double> origin(channels, 0);
  for (int64_t c = 0; c < channels && count > 0; ++c) {
    const double first = widen<scalar_t>(x[contiguous ? c * plane : c]);
    origin[c] = std::isfinite(first) ? first : 0;
  }
  std::vector<double> sums;
  if (contiguous) {
    sums = sum_planes(size[0], channels, 2, plane, [&](int64_t p, double* sum) {
      sum_distances<scalar_t>(x + p * plane, plane, origin[p % channels], sum);
    });
  } else {
    const int64_t row_size = size[3] * channels;
    sums = sum_rows(size[0] * size[2], channels, 2, row_size, [&](int64_t row, double* sum) {
      sum_row_distances<scalar_t>(x + row * row_size, size[3], channels, origin.data(), sum);
    });
  }
  ChannelStatistics result{std::vector<double>(channels), std::vector<double>(channels)};
  for (int64_t c = 0; c < channels; ++c) {
    const double distance = sums[c] / static_cast<double>(count);
    const double spread = sums[channels + c] / static_cast<double>(count) - distance * distance;
    result.mean[c] = origin[c] + distance;
    result.variance[c] = spread < 0 ? 0 : spread;  // what rounding leaves of a constant channel; NaN stays
  }
  return result;
}

}  // namespace wwae

// Batch normalisation, ReLU and max pooling: in training one pass for the statistics, and one for all the rest.
//
//   values[n, c, oh, ow] = max over the real taps of relu((x[n, c, tap] - mean[c]) * scale[c] + bias[c])
//   scale[c]             = weight[c] / sqrt(variance[c] + eps); offsets as in switch_pool2d
//
//   mean, variance, weight, bias, scale  [C]  float, or double for a double x
//
// The kernels of switch_pool2d with an activation: see switch_pool2d.cuh for tensors, ties, NaN and padding, and
// activation.cuh for the arithmetic. Statistics are the mean and the variance, divided by the count, of x in each
// channel: a strip (channel_sums.cuh) sums the distances d of its elements from its first one, and d * d; they stay
// small where the mean is large, so both sums keep their digits. Strips are put together in double, by their means.
//
// Bytes moved per element of x, 16-bit floats, 2 x 2: 2 for the statistics, 2 + 0.5 + 0.25 for the rest.
#pragma once

#include "cuda/activation.cuh"
#include "cuda/channel_sums.cuh"
#include "cuda/switch_pool2d.cuh"

namespace wwae {

// A Source of channel_sums.cuh.
template <typename scalar_t>
struct Distances {
  using number = compute_t<scalar_t>;
  static constexpr int kTerms = 2;  // d and d * d
  static constexpr bool kOrigin = true;

  const scalar_t* x;  // [N, C, H, W]

  template <int N>
  __device__ Start<number, N> start(int64_t address) const {
    Start<number, N> origin;
#pragma unroll
    for (int i = 0; i < N; ++i) origin.value[i] = to_compute(x[address + i]);
    return origin;
  }

  template <int VEC, bool CONTIGUOUS, typename Begin, typename Sums>
  __device__ void add(const Begin& origin, Sums& sums, int64_t, int64_t address, int64_t) const {
    const Vector<scalar_t, VEC> tap = load<VEC>(x + address);
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
      const number d = to_compute(tap.lane[i]) - origin.value[CONTIGUOUS ? 0 : i];
      sums[CONTIGUOUS ? 0 : i] += d;
      sums[CONTIGUOUS ? 1 : VEC + i] += d * d;
    }
  }
};

// A block a channel; `partial` holds sums of distances, of their squares, and origins.
template <typename number>
__global__ void join_statistics_kernel(const number* partial, number* mean, number* variance, Strips strips) {
  const int64_t channel = blockIdx.x;
  const double count = static_cast<double>(strips.pixels());
  // Calls body(elements, mean, scatter about it) for the strips of this thread.
  const auto for_each_strip = [&](auto body) {
    for (int64_t strip = threadIdx.x; strip < strips.of_channel(); strip += kThreads) {
      const int64_t place = strips.place(channel, strip);
      const double elements = static_cast<double>(strips.elements(strip));
      const double distance = partial[place];
      const double square = partial[strips.partials() + place];
      const double origin = partial[2 * strips.partials() + place];
      body(elements, origin + distance / elements, square - distance * distance / elements);
    }
  };
  double total[1] = {};
  for_each_strip([&](double elements, double strip_mean, double) { total[0] += elements * strip_mean; });
  block_sum(total);
  const double centre = total[0] / count;
  double scatter[1] = {};
  for_each_strip([&](double elements, double strip_mean, double strip_scatter) {
    scatter[0] += strip_scatter + elements * (strip_mean - centre) * (strip_mean - centre);
  });
  block_sum(scatter);
  if (threadIdx.x != 0) return;
  mean[channel] = static_cast<number>(centre);
  variance[channel] = static_cast<number>(scatter[0] < 0 ? 0 : scatter[0] / count);
}

// rows: channels; columns: 1.
template <typename number>
__global__ void batch_norm_scale_kernel(const number* variance, const number* weight, number* scale, number eps,
                                        Tiling tiling) {
  const Place at = place(tiling);
  if (at.inside) scale[at.row] = weight[at.row] / std::sqrt(variance[at.row] + eps);
}

// `positions`: H * W. `partial`: three times plan.strips.partials() numbers.
template <typename scalar_t>
StripPlan plan_statistics(const scalar_t* x, int64_t batch, int64_t map_channels, int64_t positions, bool interleaved) {
  constexpr int kLanes = kVectorBytes / sizeof(scalar_t);
  return plan_strips(batch, map_channels, positions, interleaved, kLanes, aligned(x, kVectorBytes));
}

template <typename scalar_t, typename Launch>
void launch_statistics(const Launch& launch, const scalar_t* x, compute_t<scalar_t>* partial, compute_t<scalar_t>* mean,
                       compute_t<scalar_t>* variance, const StripPlan& plan) {
  using number = compute_t<scalar_t>;
  constexpr int kLanes = kVectorBytes / sizeof(scalar_t);
  launch_strips<kLanes>(launch, Distances<scalar_t>{x}, partial, plan);
  launch(join_statistics_kernel<number>, Blocks{plan.strips.channels}, static_cast<const number*>(partial), mean,
         variance, plan.strips);
}

template <typename number, typename Launch>
void launch_batch_norm_scale(const Launch& launch, const number* variance, const number* weight, number* scale,
                             double eps, int64_t map_channels) {
  launch(batch_norm_scale_kernel<number>, tile(map_channels, 1), variance, weight, scale, static_cast<number>(eps));
}

}  // namespace wwae

// The gradients of bias_relu_pool2d.
//
//   g          = grad where values is positive or NaN, else 0
//   map[pixel] = sum of the g of the windows whose switch names the pixel, in raster order, in float32 for 16-bit
//   floats bias[c]    = sum over n, oh, ow of g
//
//   grad, values  [N, C, OH, OW]  float, double, bf16, half; contiguous or channels_last, the others likewise
//   offsets       [N, C, OH, OW]  uint8, int16 or int32
//   map           [N, C, H, W]    as grad; every element is written once: deterministic
//   bias          [C]             float, or double; the order of its sum is that of channel_sums.cuh
//
// The map is written by the kernels of switch_unpool2d, which mask what they read. Bytes moved per pixel, 16-bit
// floats, 2 x 2: 0.5 + 0.5 + 0.25 + 2 for the map and 0.5 + 0.5 for the sum.
#pragma once

#include "cuda/channel_sums.cuh"
#include "cuda/switch_unpool2d.cuh"

namespace wwae {

// A Source of channel_sums.cuh.
template <typename scalar_t>
struct PassedSums {
  using number = compute_t<scalar_t>;
  static constexpr int kTerms = 1;
  static constexpr bool kOrigin = false;

  PassedGradient<scalar_t> gradient;

  template <int N>
  __device__ Start<number, N> start(int64_t) const {
    return {};
  }

  template <int VEC, bool CONTIGUOUS, typename Begin, typename Sums>
  __device__ void add(const Begin&, Sums& sums, int64_t, int64_t address, int64_t) const {
    const Vector<scalar_t, VEC> passed = gradient.template at<VEC>(address);
#pragma unroll
    for (int i = 0; i < VEC; ++i) sums[CONTIGUOUS ? 0 : i] += to_compute(passed.lane[i]);
  }
};

template <typename number>
struct StoreBias {
  number* bias;  // [C]

  __device__ void operator()(int64_t channel, const double (&totals)[1]) const {
    bias[channel] = static_cast<number>(totals[0]);
  }
};

// `images`, `channels`: as tile.cuh has them; `batch`, `map_channels`: N and C.
template <typename scalar_t>
StripPlan plan_window_sums(const PassedGradient<scalar_t>& gradient, const Geometry32& g, int64_t batch,
                           int64_t map_channels, bool interleaved) {
  constexpr int kLanes = kVectorBytes / sizeof(scalar_t);
  return plan_strips(batch, map_channels, static_cast<int64_t>(g.h.output) * g.w.output, interleaved, kLanes,
                     gradient.aligned_to(kLanes));
}

// `partial`: plan.strips.partials() numbers.
template <typename scalar_t, typename Launch>
void launch_bias_gradient(const Launch& launch, const PassedGradient<scalar_t>& gradient, compute_t<scalar_t>* partial,
                          compute_t<scalar_t>* bias, const StripPlan& plan) {
  constexpr int kLanes = kVectorBytes / sizeof(scalar_t);
  launch_strips<kLanes>(launch, PassedSums<scalar_t>{gradient}, partial, plan);
  launch_join<1>(launch, static_cast<const compute_t<scalar_t>*>(partial), StoreBias<compute_t<scalar_t>>{bias}, plan);
}

// `finish`: see collect.cuh.
template <typename scalar_t, typename offset_t, typename Finish, typename Launch>
void launch_map_gradient(const Launch& launch, const PassedGradient<scalar_t>& gradient, const offset_t* offsets,
                         const Finish& finish, scalar_t* map, const Geometry32& g, int64_t images, int64_t channels) {
  const Overlap overlap = g.disjoint() ? Overlap::last : Overlap::sum;
  launch_unpool(launch, gradient, gradient, RecordedSwitches<offset_t>{offsets}, finish, map, g, images, channels,
                overlap);
}

}  // namespace wwae

// The gradients of batch_norm_relu_pool2d: two sums over the windows, then one pass over the map.
//
//   g          = grad where values is positive or NaN, else 0
//   bias[c]    = sum over n, oh, ow of g
//   weight'[c] = sum over n, oh, ow of g * (x at the switch - mean[c]) / deviation[c]
//   map[pixel] = G * scale[c] + ((x[pixel] - mean[c]) * slope[c] + shift[c]), G the sum of the g that point at the
//   pixel
//
// with scale = weight / deviation, and in training slope = -scale * sum(g (x - mean)) / (deviation^2 N H W) and
// shift = -scale * sum(g) / (N H W); in evaluation the map is G * scale, and x is read at the switches alone.
//
//   grad, values  [N, C, OH, OW]  float, double, bf16, half; contiguous or channels_last, the others likewise
//   offsets       [N, C, OH, OW]  uint8, int16 or int32
//   x, map        [N, C, H, W]    as grad; every element is written once: deterministic
//   all others    [C]             float, or double
//
// The map is written by the kernels of switch_unpool2d. Bytes moved per pixel, 16-bit floats, 2 x 2:
// 0.5 + 0.5 + 0.25 + 2 for the sums (each sector of x holds some window's pixel) and 0.5 + 0.5 + 0.25 + 2 + 2 for the
// map.
#pragma once

#include <cmath>

#include "cuda/bias_relu_pool2d_backward.cuh"

namespace wwae {

// A Source of channel_sums.cuh: g, and g times the distance of x at the switch from the mean.
template <typename scalar_t, typename offset_t, int KERNEL>
struct SwitchedSums {
  using number = compute_t<scalar_t>;
  static constexpr int kTerms = 2;
  static constexpr bool kOrigin = false;

  PassedGradient<scalar_t> gradient;
  const offset_t* offsets;
  const scalar_t* x;
  const number* mean;
  Geometry32 geometry;
  int64_t interleaved;  // channels side by side in the maps of tile.cuh

  template <int N>
  __device__ Start<number, N> start(int64_t) const {
    return {};
  }

  template <int VEC, bool CONTIGUOUS, typename Begin, typename Sums>
  __device__ void add(const Begin&, Sums& sums, int64_t row, int64_t address, int64_t channel) const {
    const Geometry32 g = specialise<KERNEL>(geometry);
    const Vector<scalar_t, VEC> passed = gradient.template at<VEC>(address);
    const Vector<offset_t, VEC> recorded = load<VEC>(offsets + address);
    Pixel window = pixel_at(row, g.h.output, g.w.output);
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
      const number own = to_compute(passed.lane[i]);
      sums[CONTIGUOUS ? 0 : i] += own;
      const int32_t offset = recorded.lane[i];
      // A gradient of 0 has no part, whatever x is; positions of an offset outside the window may overflow.
      if (own != 0 && offset >= 0 && offset < g.taps()) {
        const int32_t r = offset / g.w.kernel;
        const int32_t h = g.h.position(window.h, r);
        const int32_t w = g.w.position(window.w, offset - r * g.w.kernel);
        if (g.h.contains(h) && g.w.contains(w)) {
          const int64_t pixel = ((window.image * g.h.input + h) * g.w.input + w) * interleaved;
          const int64_t c = CONTIGUOUS ? channel : channel + i;
          const number value = to_compute(x[CONTIGUOUS ? pixel : pixel + c]);
          sums[CONTIGUOUS ? 1 : VEC + i] += own * (value - mean[c]);
        }
      }
      if (CONTIGUOUS && ++window.w == g.w.output) {  // a vector stays in its plane
        window.w = 0;
        ++window.h;
      }
    }
  }
};

// What one number a channel is computed from, and what from it.
template <typename number>
struct Coefficients {
  const number* variance;  // [C], as are all others
  const number* weight;
  number* grad_weight;
  number* grad_bias;
  number* scale;
  number* slope;
  number* shift;
  double eps;
  double count;  // N H W

  __device__ void operator()(int64_t c, const double (&totals)[2]) const {
    const double deviation = std::sqrt(static_cast<double>(variance[c]) + eps);
    const double factor = weight[c] / deviation;
    grad_bias[c] = static_cast<number>(totals[0]);
    grad_weight[c] = static_cast<number>(totals[1] / deviation);
    scale[c] = static_cast<number>(factor);
    slope[c] = static_cast<number>(-factor * totals[1] / (deviation * deviation * count));
    shift[c] = static_cast<number>(-factor * totals[0] / count);
  }
};

// A finish of collect.cuh.
template <typename scalar_t, bool TRAINING>
struct Normalised {
  using number = compute_t<scalar_t>;
  static constexpr bool kNothing = false;

  const scalar_t* x;  // as the map
  const number* mean;
  const number* scale;
  const number* slope;
  const number* shift;
  int64_t channels;  // C
  int64_t plane;  // H * W

  bool aligned_to(int lanes) const { return !TRAINING || aligned(x, lanes * sizeof(scalar_t)); }

  // `place`: the first channel, or the plane of all pixels, or -1 where they may lie in several.
  template <bool CONTIGUOUS, int N, typename T>
  __device__ Vector<T, N> of(const Vector<T, N>& pixels, int64_t address, int64_t place) const {
    Vector<T, N> result;
    Vector<scalar_t, N> map = Vector<scalar_t, N>::splat(from_compute<scalar_t>(0));
    if constexpr (TRAINING) map = load<N>(x + address);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int64_t c = CONTIGUOUS ? (place >= 0 ? place : (address + i) / plane) % channels : place + i;
      number total = to_compute(pixels.lane[i]) * scale[c];
      if constexpr (TRAINING) total += (to_compute(map.lane[i]) - mean[c]) * slope[c] + shift[c];
      if constexpr (std::is_same_v<T, number>) {
        result.lane[i] = total;
      } else {
        result.lane[i] = from_compute<T>(total);
      }
    }
    return result;
  }
};

// `partial`: twice plan.strips.partials() numbers.
template <typename scalar_t, typename offset_t, typename Launch>
void launch_batch_norm_sums(const Launch& launch, const PassedGradient<scalar_t>& gradient, const offset_t* offsets,
                            const scalar_t* x, const compute_t<scalar_t>* mean, compute_t<scalar_t>* partial,
                            const Coefficients<compute_t<scalar_t>>& coefficients, const Geometry32& g,
                            int64_t interleaved, const StripPlan& plan) {
  using number = compute_t<scalar_t>;
  constexpr int kLanes = kVectorBytes / sizeof(scalar_t);
  const auto sums = [&](auto kernel) {
    const SwitchedSums<scalar_t, offset_t, kernel()> source = {gradient, offsets, x, mean, g, interleaved};
    launch_strips<kLanes>(launch, source, partial, plan);
  };
  if constexpr (sizeof(offset_t) == 1) {
    matches(g, 2) ? sums(Constant<2>()) : sums(Constant<0>());
  } else {
    sums(Constant<0>());
  }
  launch_join<2>(launch, static_cast<const number*>(partial), coefficients, plan);
}

}  // namespace wwae

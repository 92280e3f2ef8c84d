// Soft-argmax pooling (Zhao et al. 2015, arXiv:1506.02351, equations 3 and 4): with w = softmax of beta z over the real
// taps z of a window,
//
//   what[n, c, oh, ow]  = sum of w z
//   where[n, c, oh, ow] = sum of w (column, row), both running from -1 at the first tap of the window to 1 at the last
//
//   x      [N, C, H, W]       float, double, bf16, half; contiguous or channels_last, the outputs likewise
//   beta   [N, C]             float, or double for double; any strides
//   what   [N, C, OH, OW]     as x
//   where  [N, C, OH, OW, 2]  as beta; pairs lie as the elements of what
//
// NaN, infinities and bad values of beta: see soft_window.cuh. Every output is written once, by one thread:
// deterministic.
//
// Two kernels. "channels": a thread computes VEC channels of one window (contiguous maps: 1). "pairs", for contiguous
// 2 x 2 / 2: a thread reads one vector of each of a window's two lines and computes the windows in it. Windows of 2 x 2
// and 3 x 3 / 2 are kept in registers; the taps of others are read twice, the second time from cache. Bytes moved per
// element of x, 16-bit floats, 2 x 2: 2 + 0.5 + 2.
#pragma once

#include "cuda/soft_window.cuh"

namespace wwae {

template <typename scalar_t>
struct SoftPoolTensors {
  const scalar_t* x;
  PlaneBeta<compute_t<scalar_t>> beta;
  scalar_t* what;
  compute_t<scalar_t>* where;
  int64_t channels;  // of one image: C in channels_last, 1 in contiguous
};

template <int N, typename scalar_t, typename sum_t>
__device__ inline void store_windows(const SoftPoolTensors<scalar_t>& tensors, int64_t address,
                                     const SoftNumbers<sum_t> (&windows)[N]) {
  Vector<scalar_t, N> what;
  Vector<sum_t, 2 * N> where;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    what.lane[i] = from_compute<scalar_t>(windows[i].maximum + windows[i].mean);
    where.lane[2 * i] = windows[i].x;
    where.lane[2 * i + 1] = windows[i].y;
  }
  store<N>(tensors.what + address, what);
  store_pairs<N>(tensors.where, address, where);
}

// rows: windows (image, oh, ow); columns: vectors of VEC channels.
template <typename scalar_t, int VEC, int KERNEL>
__global__ void soft_argmax_pool2d_channels_kernel(SoftPoolTensors<scalar_t> tensors, Geometry32 geometry,
                                                   Tiling tiling) {
  using sum_t = compute_t<scalar_t>;
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = soft_geometry<KERNEL>(geometry);
  const Pixel window = pixel_at(at.row, g.h.output, g.w.output);
  const RealTaps real(g, window.h, window.w);
  const int64_t channel = at.column * VEC;
  sum_t beta[VEC];
#pragma unroll
  for (int i = 0; i < VEC; ++i) beta[i] = tensors.beta.at(window.image, channel + i);
  const auto from_memory = [&](int32_t r, int32_t c) {
    const int64_t line = window.image * g.h.input + g.h.position(window.h, r);
    return load<VEC>(tensors.x + (line * g.w.input + g.w.position(window.w, c)) * tensors.channels + channel);
  };
  SoftNumbers<sum_t> windows[VEC];
  if constexpr (KERNEL > 0) {
    Vector<scalar_t, VEC> taps[KERNEL * KERNEL];
    real.each<KERNEL>([&](int32_t r, int32_t c) { taps[r * KERNEL + c] = from_memory(r, c); });
    soft_window<KERNEL>(g, real, beta, [&](int32_t r, int32_t c) { return taps[r * KERNEL + c]; }, windows);
  } else {
    soft_window<KERNEL>(g, real, beta, from_memory, windows);
  }
  store_windows(tensors, at.row * tensors.channels + channel, windows);
}

// rows: lines of windows (image, oh); columns: vectors of LANES elements of x, LANES / 2 windows each.
template <typename scalar_t, int LANES>
__global__ void soft_argmax_pool2d_pairs_kernel(SoftPoolTensors<scalar_t> tensors, Geometry32 geometry, Tiling tiling) {
  using sum_t = compute_t<scalar_t>;
  constexpr int kWindows = LANES / 2;
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = soft_geometry<2>(geometry);
  const Quotient image = divide(at.row, g.h.output);
  const RealTaps real(g, image.remainder, static_cast<int32_t>(at.column * kWindows));
  Vector<scalar_t, LANES> line[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int64_t h = image.quotient * g.h.input + g.h.position(image.remainder, r);
    if (r >= real.rows.begin && r < real.rows.end) line[r] = load<LANES>(tensors.x + h * g.w.input + at.column * LANES);
  }
  sum_t beta[kWindows];
  const sum_t of_plane = tensors.beta.at(image.quotient, 0);
#pragma unroll
  for (int i = 0; i < kWindows; ++i) beta[i] = of_plane;
  const auto tap = [&](int32_t r, int32_t c) {
    Vector<scalar_t, kWindows> taps;
#pragma unroll
    for (int i = 0; i < kWindows; ++i) taps.lane[i] = line[r].lane[2 * i + c];
    return taps;
  };
  SoftNumbers<sum_t> windows[kWindows];
  soft_window<2>(g, real, beta, tap, windows);
  store_windows(tensors, at.row * g.w.output + at.column * kWindows, windows);
}

// Chooses the kernel. `images`: N in channels_last, N * C in contiguous.
template <typename scalar_t, typename Launch>
void launch_soft_argmax_pool2d(const Launch& launch, const SoftPoolTensors<scalar_t>& tensors, const Geometry32& g,
                               int64_t images) {
  constexpr int kLanes = kVectorBytes / sizeof(scalar_t);
  constexpr int kVec = kSoftLanes<scalar_t>;
  if (tensors.channels == 1) {
    const auto fits = [&](int lanes) {
      return pairs_in_vectors(g, lanes) && aligned(tensors.x, lanes * sizeof(scalar_t));
    };
    const bool launched = with_widest_pairs<kLanes>(fits, [&](auto lanes) {
      launch(soft_argmax_pool2d_pairs_kernel<scalar_t, lanes()>, tile(images * g.h.output, g.w.input / lanes()),
             tensors, g);
    });
    if (launched) return;
  }
  const auto channels = [&](auto vec, auto kernel) {
    launch(soft_argmax_pool2d_channels_kernel<scalar_t, vec(), kernel()>,
           tile(images * g.h.output * g.w.output, tensors.channels / vec()), tensors, g);
  };
  const auto vectors = [&](auto kernel) {
    const bool whole = tensors.channels % kVec == 0 && aligned(tensors.x, kVec * sizeof(scalar_t));
    return whole ? channels(Constant<kVec>(), kernel) : channels(Constant<1>(), kernel);
  };
  if (matches(g, 2)) return vectors(Constant<2>());
  if (matches(g, 3)) return vectors(Constant<3>());
  vectors(Constant<0>());
}

}  // namespace wwae

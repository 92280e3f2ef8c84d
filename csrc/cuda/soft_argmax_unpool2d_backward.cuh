// The gradient of interpolating unpooling, with the weights that the values were split by:
//
//   grad_what[n, c, oh, ow]  = sum of weight * gradient over the taps of the window
//   grad_where[n, c, oh, ow] = what * sum of (slope of the weight) * gradient; 0 strictly outside [-1, 1]
//
//   what, grad_what    [N, C, OH, OW]     float, double, bf16, half; contiguous or channels_last, all others likewise
//   where, grad_where  [N, C, OH, OW, 2]  (x, y), float, or double for double; pairs lie as the elements of what
//   grad               [N, C, H, W]       as what; a tap outside of the map counts as 0
//
// Every output is written once, by one thread: deterministic. At most four taps of a window have a weight. Where 2 x 2
// windows tile the map they are all there are: "pairs" (contiguous), a thread reads one vector of each of a window's
// two lines, and "taps" (channels_last), a thread reads VEC channels of all taps of a window. All else, "windows": a
// thread reads the four taps of one. Bytes moved per pixel, 16-bit floats, 2 x 2: 2 + 0.5 + 2 + 0.5 + 2.
#pragma once

#include "cuda/interpolation.cuh"

namespace wwae {

template <typename scalar_t>
struct SoftUnpoolGradients {
  const scalar_t* what;
  const compute_t<scalar_t>* where;
  const scalar_t* grad;
  scalar_t* grad_what;
  compute_t<scalar_t>* grad_where;
  int64_t channels;  // of one image: C in channels_last, 1 in contiguous
};

// From the gradients of the four taps around a position, [row][column].
template <typename sum_t>
struct PlacedGradient {
  sum_t what;
  sum_t x;
  sum_t y;

  __device__ PlacedGradient(const Placed<sum_t>& placed, const sum_t (&taps)[2][2]) : what(0), x(0), y(0) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      sum_t row = 0;
      sum_t row_slope = 0;
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        row += times(placed.across.weight(placed.across.lower + j), taps[i][j]);
        row_slope += times(placed.across.weight_slope(placed.across.lower + j), taps[i][j]);
      }
      const sum_t weight = placed.down.weight(placed.down.lower + i);
      what += times(weight, row);
      x += times(weight, row_slope);
      y += times(placed.down.weight_slope(placed.down.lower + i), row);
    }
    // Where the slope is 0 the other axis counts for nothing, even if its position is NaN.
    x = placed.across.slope == 0 ? 0 : times(x, placed.value);
    y = placed.down.slope == 0 ? 0 : times(y, placed.value);
  }
};

// Windows at positions address .. address + N of 2 x 2 taps, `taps[r][c]`.
template <typename scalar_t, int N>
__device__ inline void store_gradients(const SoftUnpoolGradients<scalar_t>& tensors, const Geometry32& g,
                                       int64_t address, const Vector<scalar_t, N> (&taps)[2][2]) {
  using sum_t = compute_t<scalar_t>;
  const auto values = load<N>(tensors.what + address);
  const auto positions = load_pairs<N>(tensors.where, address);
  Vector<scalar_t, N> grad_what;
  Vector<sum_t, 2 * N> grad_where;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const Placed<sum_t> placed(g, to_compute(values.lane[i]), positions.lane[2 * i], positions.lane[2 * i + 1]);
    const sum_t four[2][2] = {{to_compute(taps[0][0].lane[i]), to_compute(taps[0][1].lane[i])},
                              {to_compute(taps[1][0].lane[i]), to_compute(taps[1][1].lane[i])}};
    const PlacedGradient<sum_t> gradient(placed, four);
    grad_what.lane[i] = from_compute<scalar_t>(gradient.what);
    grad_where.lane[2 * i] = gradient.x;
    grad_where.lane[2 * i + 1] = gradient.y;
  }
  store<N>(tensors.grad_what + address, grad_what);
  store_pairs<N>(tensors.grad_where, address, grad_where);
}

// rows: lines of windows (image, oh); columns: vectors of LANES pixels of a line, LANES / 2 windows each.
template <typename scalar_t, int LANES>
__global__ void soft_argmax_unpool2d_backward_pairs_kernel(SoftUnpoolGradients<scalar_t> tensors, Geometry32 geometry,
                                                           Tiling tiling) {
  constexpr int kWindows = LANES / 2;
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = soft_geometry<2>(geometry);
  Vector<scalar_t, kWindows> taps[2][2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const auto line = load<LANES>(tensors.grad + (2 * at.row + r) * g.w.input + at.column * LANES);
#pragma unroll
    for (int i = 0; i < LANES; ++i) taps[r][i % 2].lane[i / 2] = line.lane[i];
  }
  store_gradients(tensors, g, at.row * g.w.output + at.column * kWindows, taps);
}

// rows: windows (image, oh, ow); columns: vectors of VEC channels.
template <typename scalar_t, int VEC>
__global__ void soft_argmax_unpool2d_backward_taps_kernel(SoftUnpoolGradients<scalar_t> tensors, Geometry32 geometry,
                                                          Tiling tiling) {
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = soft_geometry<2>(geometry);
  const Pixel window = pixel_at(at.row, g.h.output, g.w.output);
  const int64_t channel = at.column * VEC;
  Vector<scalar_t, VEC> taps[2][2];
#pragma unroll
  for (int tap = 0; tap < 4; ++tap) {
    const int64_t line = window.image * g.h.input + 2 * window.h + tap / 2;
    taps[tap / 2][tap % 2] =
        load<VEC>(tensors.grad + (line * g.w.input + 2 * window.w + tap % 2) * tensors.channels + channel);
  }
  store_gradients(tensors, g, at.row * tensors.channels + channel, taps);
}

// rows: windows (image, oh, ow); columns: channels.
template <typename scalar_t>
__global__ void soft_argmax_unpool2d_backward_windows_kernel(SoftUnpoolGradients<scalar_t> tensors, Geometry32 geometry,
                                                             Tiling tiling) {
  using sum_t = compute_t<scalar_t>;
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = soft_geometry<0>(geometry);
  const Pixel window = pixel_at(at.row, g.h.output, g.w.output);
  const int64_t own = at.row * tensors.channels + at.column;
  const auto position = load_pairs<1>(tensors.where, own);
  const Placed<sum_t> placed(g, to_compute(tensors.what[own]), position.lane[0], position.lane[1]);
  sum_t taps[2][2];
#pragma unroll
  for (int tap = 0; tap < 4; ++tap) {
    const int32_t r = placed.down.lower + tap / 2;
    const int32_t c = placed.across.lower + tap % 2;
    const int32_t h = g.h.position(window.h, r);
    const int32_t w = g.w.position(window.w, c);
    const bool real = r < g.h.kernel && c < g.w.kernel && g.h.contains(h) && g.w.contains(w);
    const int64_t line = window.image * g.h.input + h;
    taps[tap / 2][tap % 2] = real ? to_compute(tensors.grad[(line * g.w.input + w) * tensors.channels + at.column]) : 0;
  }
  const PlacedGradient<sum_t> gradient(placed, taps);
  tensors.grad_what[own] = from_compute<scalar_t>(gradient.what);
  store_pairs<1>(tensors.grad_where, own, Vector<sum_t, 2>{{gradient.x, gradient.y}});
}

// Chooses the kernel. `images`: N in channels_last, N * C in contiguous.
template <typename scalar_t, typename Launch>
void launch_soft_argmax_unpool2d_backward(const Launch& launch, const SoftUnpoolGradients<scalar_t>& tensors,
                                          const Geometry32& g, int64_t images) {
  constexpr int kLanes = kVectorBytes / sizeof(scalar_t);
  constexpr int kVec = kSoftLanes<scalar_t>;
  const int64_t windows = images * g.h.output * g.w.output;
  const auto vectors_fit = [&](int lanes) {
    return aligned(tensors.what, lanes * sizeof(scalar_t)) && aligned(tensors.grad, lanes * sizeof(scalar_t)) &&
           aligned(tensors.where, kVectorBytes);
  };
  if (tiled(g) && matches(g, 2)) {
    const auto fits = [&](int lanes) { return pairs_in_vectors(g, lanes) && vectors_fit(lanes); };
    const auto pairs = [&](auto lanes) {
      launch(soft_argmax_unpool2d_backward_pairs_kernel<scalar_t, lanes()>,
             tile(images * g.h.output, g.w.input / lanes()), tensors, g);
    };
    if (tensors.channels == 1 && with_widest_pairs<kLanes>(fits, pairs)) return;
    if (tensors.channels % kVec == 0 && vectors_fit(kVec)) {
      return launch(soft_argmax_unpool2d_backward_taps_kernel<scalar_t, kVec>, tile(windows, tensors.channels / kVec),
                    tensors, g);
    }
  }
  launch(soft_argmax_unpool2d_backward_windows_kernel<scalar_t>, tile(windows, tensors.channels), tensors, g);
}

}  // namespace wwae

// The gradient of soft-argmax pooling. With the gradients v in what and p in where, and
// h = v (z - what) + p . (position - where), at a tap z of weight w:
//
//   grad_x[n, c, h, w] = sum over the windows of w (v + beta h)
//   grad_beta[n, c]    = sum over the windows and their taps of w (z - what) h
//
//   x, grad_x           [N, C, H, W]       float, double, bf16, half; contiguous or channels_last, all others likewise
//   beta, grad_beta     [N, C]             float, or double for double; beta in any strides
//   grad_what           [N, C, OH, OW]     as x
//   grad_where          [N, C, OH, OW, 2]  as beta; pairs lie as the elements of grad_what
//
// Deterministic, without atomics: every element is written once, by one thread. A pixel adds its windows in raster
// order, in float32 for 16-bit floats; beta adds the taps of a window, then the windows of a line, then the lines.
//
// Where windows tile the map, one pass makes the softmax again and writes the gradient of every tap: "pairs" for
// contiguous 2 x 2 / 2, "cells" for VEC channels of one window. Bytes moved per element of x, 16-bit floats, 2 x 2: 2 +
// 0.5 + 2 + 2, and 1 + 1 for beta. All else takes two: "windows" writes five numbers of every window, and "pixels" adds
// over the windows of VEC channels of one pixel.
#pragma once

#include "cuda/soft_argmax_pool2d.cuh"

namespace wwae {

template <typename scalar_t>
struct SoftPoolGradients {
  const scalar_t* x;
  PlaneBeta<compute_t<scalar_t>> beta;
  const scalar_t* what;  // gradients in it
  const compute_t<scalar_t>* where;
  scalar_t* grad_x;
  compute_t<scalar_t>* numbers;  // [5, windows], SoftNumbers; only where windows do not tile the map
  int64_t windows;  // in all
  compute_t<scalar_t>* beta_sums;  // [windows], or null: not wanted
  int64_t channels;  // of one image: C in channels_last, 1 in contiguous
};

// What arrives at N windows.
template <typename scalar_t, int N>
struct Arriving {
  using sum_t = compute_t<scalar_t>;

  sum_t what[N];
  sum_t x[N];
  sum_t y[N];

  __device__ Arriving(const SoftPoolGradients<scalar_t>& tensors, int64_t address) {
    const Vector<scalar_t, N> values = load<N>(tensors.what + address);
    const Vector<sum_t, 2 * N> pairs = load_pairs<N>(tensors.where, address);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      what[i] = to_compute(values.lane[i]);
      x[i] = pairs.lane[2 * i];
      y[i] = pairs.lane[2 * i + 1];
    }
  }
};

// Of a tap (x, y), and of beta for it.
template <typename sum_t>
struct TapGradient {
  sum_t value;
  sum_t beta;

  __device__ TapGradient(sum_t tap, sum_t sharpness, const SoftNumbers<sum_t>& window, sum_t what, sum_t p_x, sum_t p_y,
                         sum_t x, sum_t y) {
    const Power<sum_t> of(tap, window.maximum, sharpness);
    const sum_t weight = of.power / window.total;
    const sum_t centred = of.below - window.mean;
    const sum_t pull = what * centred + p_x * (x - window.x) + p_y * (y - window.y);
    value = weight * (what + sharpness * pull);
    beta = weight * centred * pull;
  }
};

// The gradients of the taps of N windows, through `put(r, c, Vector<scalar_t, N>)`, and the windows' part in beta.
template <int KERNEL, typename scalar_t, typename sum_t, int N, typename Tap, typename Put>
__device__ inline void put_gradients(const SoftPoolGradients<scalar_t>& tensors, const Geometry32& g,
                                     const RealTaps& real, int64_t address, const sum_t (&beta)[N],
                                     const SoftNumbers<sum_t> (&windows)[N], const Tap& tap, const Put& put) {
  const Arriving<scalar_t, N> arriving(tensors, address);
  Vector<sum_t, N> beta_sums = Vector<sum_t, N>::splat(0);
  real.each<KERNEL>([&](int32_t r, int32_t c) {
    const auto values = tap(r, c);
    const sum_t x = tap_position<sum_t>(c, g.w.kernel);
    const sum_t y = tap_position<sum_t>(r, g.h.kernel);
    Vector<scalar_t, N> gradients;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const TapGradient<sum_t> of(to_compute(values.lane[i]), beta[i], windows[i], arriving.what[i], arriving.x[i],
                                  arriving.y[i], x, y);
      gradients.lane[i] = from_compute<scalar_t>(of.value);
      beta_sums.lane[i] += of.beta;
    }
    put(r, c, gradients);
  });
  if (tensors.beta_sums != nullptr) store<N>(tensors.beta_sums + address, beta_sums);
}

// rows: windows (image, oh, ow); columns: vectors of VEC channels. WRITE: the gradients of all taps; else the numbers
// of the windows.
template <typename scalar_t, int VEC, int KERNEL, bool WRITE>
__device__ inline void soft_window_gradient(const SoftPoolGradients<scalar_t>& tensors, const Geometry32& geometry,
                                            const Tiling& tiling) {
  using sum_t = compute_t<scalar_t>;
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = soft_geometry<KERNEL>(geometry);
  const Pixel window = pixel_at(at.row, g.h.output, g.w.output);
  const RealTaps real(g, window.h, window.w);
  const int64_t channel = at.column * VEC;
  const int64_t address = at.row * tensors.channels + channel;
  sum_t beta[VEC];
#pragma unroll
  for (int i = 0; i < VEC; ++i) beta[i] = tensors.beta.at(window.image, channel + i);
  const auto position = [&](int32_t r, int32_t c) {
    const int64_t line = window.image * g.h.input + g.h.position(window.h, r);
    return (line * g.w.input + g.w.position(window.w, c)) * tensors.channels + channel;
  };
  Vector<scalar_t, VEC> taps[KERNEL > 0 ? KERNEL * KERNEL : 1];
  if constexpr (KERNEL > 0) {
    real.each<KERNEL>([&](int32_t r, int32_t c) { taps[r * KERNEL + c] = load<VEC>(tensors.x + position(r, c)); });
  }
  const auto tap = [&](int32_t r, int32_t c) {
    if constexpr (KERNEL > 0) {
      return taps[r * KERNEL + c];
    } else {
      return load<VEC>(tensors.x + position(r, c));
    }
  };
  SoftNumbers<sum_t> windows[VEC];
  soft_window<KERNEL>(g, real, beta, tap, windows);
  if constexpr (WRITE) {
    put_gradients<KERNEL>(
        tensors, g, real, address, beta, windows, tap,
        [&](int32_t r, int32_t c, const auto& gradients) { store<VEC>(tensors.grad_x + position(r, c), gradients); });
  } else {
    if (tensors.beta_sums != nullptr) {
      put_gradients<KERNEL>(tensors, g, real, address, beta, windows, tap, [](int32_t, int32_t, const auto&) {});
    }
    const auto keep = [&](int number, auto of) {
      Vector<sum_t, VEC> numbers;
#pragma unroll
      for (int i = 0; i < VEC; ++i) numbers.lane[i] = of(windows[i]);
      store<VEC>(tensors.numbers + number * tensors.windows + address, numbers);
    };
    keep(0, [](const auto& numbers) { return numbers.maximum; });
    keep(1, [](const auto& numbers) { return numbers.total; });
    keep(2, [](const auto& numbers) { return numbers.mean; });
    keep(3, [](const auto& numbers) { return numbers.x; });
    keep(4, [](const auto& numbers) { return numbers.y; });
  }
}

template <typename scalar_t, int VEC, int KERNEL>
__global__ void soft_argmax_pool2d_backward_cells_kernel(SoftPoolGradients<scalar_t> tensors, Geometry32 geometry,
                                                         Tiling tiling) {
  soft_window_gradient<scalar_t, VEC, KERNEL, true>(tensors, geometry, tiling);
}

template <typename scalar_t, int VEC, int KERNEL>
__global__ void soft_argmax_pool2d_backward_windows_kernel(SoftPoolGradients<scalar_t> tensors, Geometry32 geometry,
                                                           Tiling tiling) {
  soft_window_gradient<scalar_t, VEC, KERNEL, false>(tensors, geometry, tiling);
}

// rows: lines of windows (image, oh); columns: vectors of LANES elements of x, LANES / 2 windows each.
template <typename scalar_t, int LANES>
__global__ void soft_argmax_pool2d_backward_pairs_kernel(SoftPoolGradients<scalar_t> tensors, Geometry32 geometry,
                                                         Tiling tiling) {
  using sum_t = compute_t<scalar_t>;
  constexpr int kWindows = LANES / 2;
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = soft_geometry<2>(geometry);
  const Quotient image = divide(at.row, g.h.output);
  const RealTaps real(g, image.remainder, static_cast<int32_t>(at.column * kWindows));
  const int64_t first = 2 * at.row * g.w.input + at.column * LANES;  // two lines of x for every line of windows
  Vector<scalar_t, LANES> line[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) line[r] = load<LANES>(tensors.x + first + r * g.w.input);
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
  Vector<scalar_t, LANES> gradient[2];
  put_gradients<2>(tensors, g, real, at.row * g.w.output + at.column * kWindows, beta, windows, tap,
                   [&](int32_t r, int32_t c, const auto& gradients) {
#pragma unroll
                     for (int i = 0; i < kWindows; ++i) gradient[r].lane[2 * i + c] = gradients.lane[i];
                   });
#pragma unroll
  for (int r = 0; r < 2; ++r) store<LANES>(tensors.grad_x + first + r * g.w.input, gradient[r]);
}

// rows: pixels (image, h, w); columns: vectors of VEC channels.
template <typename scalar_t, int VEC>
__global__ void soft_argmax_pool2d_backward_pixels_kernel(SoftPoolGradients<scalar_t> tensors, Geometry32 geometry,
                                                          Tiling tiling) {
  using sum_t = compute_t<scalar_t>;
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = soft_geometry<0>(geometry);
  const Pixel pixel = pixel_at(at.row, g.h.input, g.w.input);
  const int64_t channel = at.column * VEC;
  const int64_t own = at.row * tensors.channels + channel;
  const Vector<scalar_t, VEC> taps = load<VEC>(tensors.x + own);
  sum_t sums[VEC] = {};
  sum_t beta[VEC];
#pragma unroll
  for (int i = 0; i < VEC; ++i) beta[i] = tensors.beta.at(pixel.image, channel + i);
  const Range<int32_t> rows = g.h.windows_over(pixel.h);
  const Range<int32_t> columns = g.w.windows_over(pixel.w);
  for (int32_t oh = rows.begin; oh < rows.end; ++oh) {
    const sum_t y = tap_position<sum_t>(pixel.h - g.h.start(oh), g.h.kernel);
    for (int32_t ow = columns.begin; ow < columns.end; ++ow) {
      const sum_t x = tap_position<sum_t>(pixel.w - g.w.start(ow), g.w.kernel);
      const int64_t address = ((pixel.image * g.h.output + oh) * g.w.output + ow) * tensors.channels + channel;
      const Arriving<scalar_t, VEC> arriving(tensors, address);
      Vector<sum_t, VEC> numbers[5];
#pragma unroll
      for (int i = 0; i < 5; ++i) numbers[i] = load<VEC>(tensors.numbers + i * tensors.windows + address);
#pragma unroll
      for (int i = 0; i < VEC; ++i) {
        const SoftNumbers<sum_t> window = {numbers[0].lane[i], numbers[1].lane[i], numbers[2].lane[i],
                                           numbers[3].lane[i], numbers[4].lane[i]};
        const TapGradient<sum_t> of(to_compute(taps.lane[i]), beta[i], window, arriving.what[i], arriving.x[i],
                                    arriving.y[i], x, y);
        sums[i] += of.value;
      }
    }
  }
  Vector<scalar_t, VEC> gradients;
#pragma unroll
  for (int i = 0; i < VEC; ++i) gradients.lane[i] = from_compute<scalar_t>(sums[i]);
  store<VEC>(tensors.grad_x + own, gradients);
}

// The sums of `count` elements each; element i of sum (row, column) is values[(row * count + i) * columns + column].
// rows and columns: of the sums.
template <typename sum_t>
__global__ void soft_argmax_pool2d_backward_sums_kernel(const sum_t* values, sum_t* sums, int64_t count,
                                                        Tiling tiling) {
  const Place at = place(tiling);
  if (!at.inside) return;
  sum_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += values[(at.row * count + i) * tiling.columns + at.column];
  sums[at.row * tiling.columns + at.column] = sum;
}

// Chooses the kernels of grad_x and beta_sums. `images`: N in channels_last, N * C in contiguous.
template <typename scalar_t, typename Launch>
void launch_soft_argmax_pool2d_backward(const Launch& launch, const SoftPoolGradients<scalar_t>& tensors,
                                        const Geometry32& g, int64_t images) {
  using sum_t = compute_t<scalar_t>;
  // Half of what pooling takes: a window has its gradients besides.
  constexpr int kLanes = sizeof(scalar_t) < 8 ? kVectorBytes / 2 / sizeof(scalar_t) : 2;
  constexpr int kVec = kSoftLanes<scalar_t> > 1 ? kSoftLanes<scalar_t> / 2 : 1;
  const int64_t channels = tensors.channels;
  const int64_t windows = images * g.h.output * g.w.output;
  const auto vectors_fit = [&](int lanes) {
    return aligned(tensors.x, lanes * sizeof(scalar_t)) && aligned(tensors.what, lanes * sizeof(scalar_t)) &&
           aligned(tensors.where, lanes > 1 ? kVectorBytes : sizeof(sum_t)) && tensors.windows % lanes == 0;
  };
  if (channels == 1 && tiled(g)) {
    const auto fits = [&](int lanes) { return pairs_in_vectors(g, lanes) && vectors_fit(lanes); };
    const bool launched = with_widest_pairs<kLanes>(fits, [&](auto lanes) {
      launch(soft_argmax_pool2d_backward_pairs_kernel<scalar_t, lanes()>,
             tile(images * g.h.output, g.w.input / lanes()), tensors, g);
    });
    if (launched) return;
  }
  const auto with_vectors = [&](const auto& body) {
    return channels % kVec == 0 && vectors_fit(kVec) ? body(Constant<kVec>()) : body(Constant<1>());
  };
  if (tiled(g)) {
    return with_vectors([&](auto vec) {
      const auto cells = matches(g, 2) ? soft_argmax_pool2d_backward_cells_kernel<scalar_t, vec(), 2>
                                       : soft_argmax_pool2d_backward_cells_kernel<scalar_t, vec(), 0>;
      launch(cells, tile(windows, channels / vec()), tensors, g);
    });
  }
  with_vectors([&](auto vec) {
    const auto numbers = matches(g, 2)   ? soft_argmax_pool2d_backward_windows_kernel<scalar_t, vec(), 2>
                         : matches(g, 3) ? soft_argmax_pool2d_backward_windows_kernel<scalar_t, vec(), 3>
                                         : soft_argmax_pool2d_backward_windows_kernel<scalar_t, vec(), 0>;
    launch(numbers, tile(windows, channels / vec()), tensors, g);
    launch(soft_argmax_pool2d_backward_pixels_kernel<scalar_t, vec()>,
           tile(images * g.h.input * g.w.input, channels / vec()), tensors, g);
  });
}

// grad_beta from beta_sums: `lines` [images, OH, channels] lies between.
template <typename sum_t, typename Launch>
void launch_soft_argmax_pool2d_backward_beta(const Launch& launch, const sum_t* beta_sums, sum_t* lines,
                                             sum_t* grad_beta, const Geometry32& g, int64_t images, int64_t channels) {
  const int64_t rows = images * g.h.output;
  launch(soft_argmax_pool2d_backward_sums_kernel<sum_t>, tile(rows, channels), beta_sums, lines,
         static_cast<int64_t>(g.w.output));
  launch(soft_argmax_pool2d_backward_sums_kernel<sum_t>, tile(images, channels), static_cast<const sum_t*>(lines),
         grad_beta, static_cast<int64_t>(g.h.output));
}

}  // namespace wwae

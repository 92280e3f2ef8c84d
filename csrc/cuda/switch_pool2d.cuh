// Max pooling that records where each maximum stood; taps may go through an activation (activation.cuh) before they are
// compared.
//
//   values[n, c, oh, ow]  = max over the real taps (r, c') of x[n, c, oh * SH - PH + r * DH, ow * SW - PW + c' * DW]
//   offsets[n, c, oh, ow] = r * KW + c' of that tap
//   indices[n, c, oh, ow] = its flat position h * W + w in the plane (max_pool2d only)
//
//   x        [N, C, H, W]    float, double, bf16, half; contiguous or channels_last, the outputs likewise
//   values   [N, C, OH, OW]  as x
//   offsets  [N, C, OH, OW]  uint8, int16 or int32
//   indices  [N, C, OH, OW]  int64
//
// The first maximum in raster order wins; the last NaN beats every number; padding is never chosen. A window without a
// real tap has value -inf, offset 0 and PyTorch's index: its first tap that is not above or left of the map. Every
// output is written once, by one thread: deterministic.
//
// Two kernels. "channels": a thread computes VEC channels of one window (contiguous maps: 1). "pairs", for contiguous
// 2 x 2 / 2: a thread reads one vector of each of a window's two lines and computes the windows in it. Bytes moved per
// element of x, 16-bit floats, 2 x 2: 2 + 0.5 + 0.25, and 2 more for indices.
#pragma once

#include <cmath>

#include "cuda/activation.cuh"
#include "cuda/tile.cuh"
#include "cuda/vector.cuh"

namespace wwae {

template <typename scalar_t>
struct PoolTensors {
  const scalar_t* x;
  scalar_t* values;
  void* offsets;
  int64_t* indices;  // null: not wanted
  int64_t channels;  // of one image: C in channels_last, 1 in contiguous
};

template <typename scalar_t>
__device__ inline scalar_t minus_infinity() {
  return from_compute<scalar_t>(-static_cast<compute_t<scalar_t>>(INFINITY));
}

// The running maximum of N windows, and the offsets of the taps that hold it.
template <typename scalar_t, int N>
struct Maximum {
  compute_t<scalar_t> best[N];
  int32_t offset[N];

  // `first` is the offset of the first real tap: what a window of -inf picks.
  __device__ explicit Maximum(int32_t first) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      best[i] = -static_cast<compute_t<scalar_t>>(INFINITY);
      offset[i] = first;
    }
  }

  __device__ void take(int i, scalar_t tap_value, int32_t tap) {
    const compute_t<scalar_t> value = to_compute(tap_value);
    if (value > best[i] || value != value) {
      best[i] = value;
      offset[i] = tap;
    }
  }
};

// First tap of a window that is not above (left of) the map.
__device__ inline int64_t first_position(const BasicAxis<int32_t>& axis, int32_t window) {
  const int32_t start = axis.start(window);
  return start < 0 ? start + ceil_divide(-start, axis.dilation) * axis.dilation : start;
}

// Where windows (image, oh, ow .. ow + N) of the map's channels lie, and what to write there.
template <typename offset_t, typename scalar_t, int N>
__device__ inline void store_windows(const PoolTensors<scalar_t>& tensors, int64_t address,
                                     const Maximum<scalar_t, N>& maximum) {
  Vector<scalar_t, N> values;
  Vector<offset_t, N> offsets;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    values.lane[i] = from_compute<scalar_t>(maximum.best[i]);
    offsets.lane[i] = static_cast<offset_t>(maximum.offset[i]);
  }
  store<N>(tensors.values + address, values);
  store<N>(static_cast<offset_t*>(tensors.offsets) + address, offsets);
}

// rows: windows (image, oh, ow); columns: vectors of VEC channels.
template <typename scalar_t, typename offset_t, int VEC, int KERNEL, bool INDICES, typename Activation>
__global__ void switch_pool2d_channels_kernel(PoolTensors<scalar_t> tensors, Activation activation, Geometry32 geometry,
                                              Tiling tiling) {
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = specialise<KERNEL>(geometry);
  const Pixel window = pixel_at(at.row, g.h.output, g.w.output);
  const Range<int32_t> rows = g.h.taps(window.h);
  const Range<int32_t> columns = g.w.taps(window.w);
  const bool empty = rows.begin >= rows.end || columns.begin >= columns.end;
  Maximum<scalar_t, VEC> maximum(empty ? 0 : rows.begin * g.w.kernel + columns.begin);

  const int64_t channel = at.column * VEC;
  const auto address = [&](int32_t r, int32_t c) {
    const int64_t line = window.image * g.h.input + g.h.position(window.h, r);
    return (line * g.w.input + g.w.position(window.w, c)) * tensors.channels + channel;
  };
  const auto is_real = [&](int r, int c) {
    return r >= rows.begin && r < rows.end && c >= columns.begin && c < columns.end;
  };
  if constexpr (KERNEL > 0) {
    // All loads before the first comparison, so that they are in flight together.
    Vector<scalar_t, VEC> taps[KERNEL * KERNEL];
#pragma unroll
    for (int r = 0; r < KERNEL; ++r) {
#pragma unroll
      for (int c = 0; c < KERNEL; ++c) {
        taps[r * KERNEL + c] = is_real(r, c) ? load<VEC>(tensors.x + address(r, c))
                                             : Vector<scalar_t, VEC>::splat(minus_infinity<scalar_t>());
      }
    }
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
      const auto activate = activation.of(activation.channel_at(window.image, channel + i, tensors.channels));
#pragma unroll
      for (int tap = 0; tap < KERNEL * KERNEL; ++tap) {
        maximum.take(i, activate(taps[tap].lane[i], is_real(tap / KERNEL, tap % KERNEL)), tap);
      }
    }
  } else {
    for (int32_t r = rows.begin; r < rows.end; ++r) {
      for (int32_t c = columns.begin; c < columns.end; ++c) {
        const Vector<scalar_t, VEC> tap = load<VEC>(tensors.x + address(r, c));
#pragma unroll
        for (int i = 0; i < VEC; ++i) {
          const auto activate = activation.of(activation.channel_at(window.image, channel + i, tensors.channels));
          maximum.take(i, activate(tap.lane[i], true), r * g.w.kernel + c);
        }
      }
    }
  }

  const int64_t output = at.row * tensors.channels + channel;
  store_windows<offset_t>(tensors, output, maximum);
  if constexpr (INDICES) {
    const int64_t outside = first_position(g.h, window.h) * g.w.input + first_position(g.w, window.w);
    Vector<int64_t, VEC> indices;
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
      const int32_t r = maximum.offset[i] / g.w.kernel;
      const int32_t c = maximum.offset[i] - r * g.w.kernel;
      const int64_t h = g.h.position(window.h, r);
      indices.lane[i] = empty ? outside : h * g.w.input + g.w.position(window.w, c);
    }
    store<VEC>(tensors.indices + output, indices);
  }
}

// rows: lines of windows (image, oh); columns: vectors of LANES elements of x, LANES / 2 windows each.
template <typename scalar_t, int LANES, bool INDICES, typename Activation>
__global__ void switch_pool2d_pairs_kernel(PoolTensors<scalar_t> tensors, Activation activation, Geometry32 geometry,
                                           Tiling tiling) {
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = specialise<2>(geometry);
  const Quotient image = divide(at.row, g.h.output);
  const int32_t h0 = g.h.start(image.remainder);
  Vector<scalar_t, LANES> line[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const scalar_t* start = tensors.x + (image.quotient * g.h.input + h0 + r) * g.w.input;
    line[r] = g.h.contains(h0 + r) ? load<LANES>(start + at.column * LANES)
                                   : Vector<scalar_t, LANES>::splat(minus_infinity<scalar_t>());
  }

  constexpr int kWindows = LANES / 2;
  Maximum<scalar_t, kWindows> maximum(g.h.contains(h0) ? 0 : 2);
  const auto activate = activation.of(activation.channel_at(image.quotient, 0, 1));
#pragma unroll
  for (int tap = 0; tap < 4; ++tap) {
    const bool real = g.h.contains(h0 + tap / 2);
#pragma unroll
    for (int i = 0; i < kWindows; ++i) maximum.take(i, activate(line[tap / 2].lane[2 * i + tap % 2], real), tap);
  }
  const int64_t output = at.row * g.w.output + at.column * kWindows;
  store_windows<uint8_t>(tensors, output, maximum);
  if constexpr (INDICES) {
    Vector<int64_t, kWindows> indices;
#pragma unroll
    for (int i = 0; i < kWindows; ++i) {
      const int64_t h = h0 + maximum.offset[i] / 2;
      indices.lane[i] = h * g.w.input + at.column * LANES + 2 * i + maximum.offset[i] % 2;
    }
    store<kWindows>(tensors.indices + output, indices);
  }
}

// Chooses the kernel. `images`: N in channels_last, N * C in contiguous.
template <typename offset_t, bool INDICES, typename scalar_t, typename Launch, typename Activation = Identity<scalar_t>>
void launch_switch_pool2d(const Launch& launch, const PoolTensors<scalar_t>& tensors, const Geometry32& g,
                          int64_t images, const Activation& activation = {}) {
  const int64_t windows = images * g.h.output * g.w.output;
  constexpr int kLanes = kVectorBytes / sizeof(scalar_t);
  const auto channels = [&](auto vec, auto kernel) {
    launch(switch_pool2d_channels_kernel<scalar_t, offset_t, vec(), kernel(), INDICES, Activation>,
           tile(windows, tensors.channels / vec()), tensors, activation, g);
  };
  // Wider offsets belong to windows of more than 256 taps: one kernel is enough for them.
  if constexpr (std::is_same_v<offset_t, uint8_t>) {
    if (tensors.channels == 1) {
      const auto fits = [&](int lanes) {
        return pairs_in_vectors(g, lanes) && aligned(tensors.x, lanes * sizeof(scalar_t));
      };
      const bool launched = with_widest_pairs<kLanes>(fits, [&](auto lanes) {
        launch(switch_pool2d_pairs_kernel<scalar_t, lanes(), INDICES, Activation>,
               tile(images * g.h.output, g.w.input / lanes()), tensors, activation, g);
      });
      if (launched) return;
    }
    const auto vectors = [&](auto kernel) {
      const bool whole = tensors.channels % kLanes == 0 && aligned(tensors.x, kVectorBytes);
      return whole ? channels(Constant<kLanes>(), kernel) : channels(Constant<1>(), kernel);
    };
    if (matches(g, 2)) return vectors(Constant<2>());
    if (matches(g, 3)) return vectors(Constant<3>());
    return vectors(Constant<0>());
  } else {
    channels(Constant<1>(), Constant<0>());
  }
}

}  // namespace wwae

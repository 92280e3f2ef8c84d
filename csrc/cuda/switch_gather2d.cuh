// Gather: read, for every window, the pixel its switch names; the transpose of switch_unpool2d.
//
//   Overlap::sum   the pixel's value
//   Overlap::last  the pixel's value for the last window, in raster order, that claims the pixel, 0 for the others
//   Overlap::mean  the pixel's value divided by the number of windows that claim it, in float32 for 16-bit floats
//
// A window whose offset names no real tap gathers 0 and reads nothing. With disjoint windows the three are one, and
// the host asks for the sum.
//
//   x        [N, C, H, W]    float, double, bf16, half; contiguous or channels_last, the output likewise
//   offsets  [N, C, OH, OW]  uint8, int16 or int32
//   output   [N, C, OH, OW]  as x; every element is written once, by one thread: deterministic
//
// For 2 x 2 / 2 windows and the sum, values are only moved, and all of x is read (each 32-byte sector holds some
// window's pixel), so whole vectors are read and the tap is chosen in registers: "pairs" (contiguous), "taps"
// (channels_last). All else, "windows": a thread reads the one pixel of one window. Bytes moved per element of x,
// 16-bit floats, 2 x 2: 2 + 0.25 + 0.5.
#pragma once

#include "cuda/tile.cuh"
#include "cuda/vector.cuh"

namespace wwae {

// The tap of a 2 x 2 window that `offset` names, or 0. Bit by bit: a comparison for each tap becomes an array in local
// memory, indexed by the offset.
template <typename word>
__device__ inline word choose(uint8_t offset, word top_left, word top_right, word bottom_left, word bottom_right) {
  const word top = offset & 1 ? top_right : top_left;
  const word bottom = offset & 1 ? bottom_right : bottom_left;
  return offset > 3 ? word{0} : offset & 2 ? bottom : top;
}

// rows: lines of windows (image, oh); columns: vectors of LANES elements of x, LANES / 2 windows each.
template <typename word, int LANES>
__global__ void switch_gather2d_pairs_kernel(const word* x, const uint8_t* offsets, word* output, Geometry32 geometry,
                                             Tiling tiling) {
  constexpr int kWindows = LANES / 2;
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = specialise<2>(geometry);
  const Quotient image = divide(at.row, g.h.output);
  const int32_t h0 = g.h.start(image.remainder);
  Vector<word, LANES> line[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const word* start = x + (image.quotient * g.h.input + h0 + r) * g.w.input;
    line[r] = g.h.contains(h0 + r) ? load<LANES>(start + at.column * LANES) : Vector<word, LANES>::splat(0);
  }
  const int64_t address = at.row * g.w.output + at.column * kWindows;
  const Vector<uint8_t, kWindows> chosen = load<kWindows>(offsets + address);
  Vector<word, kWindows> values;
#pragma unroll
  for (int i = 0; i < kWindows; ++i) {
    values.lane[i] = choose(chosen.lane[i], line[0].lane[2 * i], line[0].lane[2 * i + 1], line[1].lane[2 * i],
                            line[1].lane[2 * i + 1]);
  }
  store<kWindows>(output + address, values);
}

// rows: windows (image, oh, ow); columns: vectors of VEC channels. 2 x 2 / 2.
template <typename word, int VEC>
__global__ void switch_gather2d_taps_kernel(const word* x, const uint8_t* offsets, word* output, Geometry32 geometry,
                                            int64_t channels, Tiling tiling) {
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = specialise<2>(geometry);
  const Pixel window = pixel_at(at.row, g.h.output, g.w.output);
  const int64_t channel = at.column * VEC;
  Vector<word, VEC> taps[4];
#pragma unroll
  for (int tap = 0; tap < 4; ++tap) {
    const int32_t h = g.h.position(window.h, tap / 2);
    const int32_t w = g.w.position(window.w, tap % 2);
    const bool real = g.h.contains(h) && g.w.contains(w);
    const int64_t address = ((window.image * g.h.input + h) * g.w.input + w) * channels + channel;
    taps[tap] = real ? load<VEC>(x + address) : Vector<word, VEC>::splat(0);
  }
  const int64_t address = at.row * channels + channel;
  const Vector<uint8_t, VEC> chosen = load<VEC>(offsets + address);
  Vector<word, VEC> values;
#pragma unroll
  for (int i = 0; i < VEC; ++i) {
    values.lane[i] = choose(chosen.lane[i], taps[0].lane[i], taps[1].lane[i], taps[2].lane[i], taps[3].lane[i]);
  }
  store<VEC>(output + address, values);
}

// rows: windows (image, oh, ow); columns: channels.
template <typename scalar_t, typename offset_t, int KERNEL>
__global__ void switch_gather2d_windows_kernel(const scalar_t* x, const offset_t* offsets, scalar_t* output,
                                               Geometry32 geometry, int64_t channels, Overlap overlap, Tiling tiling) {
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = specialise<KERNEL>(geometry);
  const Pixel window = pixel_at(at.row, g.h.output, g.w.output);
  const int64_t own = at.row * channels + at.column;
  const int32_t offset = offsets[own];
  scalar_t value = from_compute<scalar_t>(0);
  const bool named = offset >= 0 && offset < g.taps();  // asked first: positions of any other offset may overflow
  const int32_t r = named ? offset / g.w.kernel : 0;
  const int32_t h = g.h.position(window.h, r);
  const int32_t w = g.w.position(window.w, named ? offset - r * g.w.kernel : 0);
  if (named && g.h.contains(h) && g.w.contains(w)) {
    value = x[((window.image * g.h.input + h) * g.w.input + w) * channels + at.column];
    if (overlap != Overlap::sum) {
      const Range<int32_t> rows = g.h.windows_over(h);
      const Range<int32_t> columns = g.w.windows_over(w);
      int32_t hits = 0;
      bool overwritten = false;
      for (int32_t oh = rows.begin; oh < rows.end; ++oh) {
        const int32_t tap_row = g.h.tap_at(oh, h);
        if (tap_row < 0) continue;
        for (int32_t ow = columns.begin; ow < columns.end; ++ow) {
          const int32_t tap_column = g.w.tap_at(ow, w);
          if (tap_column < 0) continue;
          const int64_t other = ((window.image * g.h.output + oh) * g.w.output + ow) * channels + at.column;
          const bool claimed = offsets[other] == tap_row * g.w.kernel + tap_column;
          hits += claimed;
          overwritten = overwritten || (claimed && other > own);
        }
      }
      if (overlap == Overlap::mean) {
        value = from_compute<scalar_t>(to_compute(value) / static_cast<compute_t<scalar_t>>(hits));
      } else if (overwritten) {
        value = from_compute<scalar_t>(0);
      }
    }
  }
  output[own] = value;
}

// Chooses the kernel. `images`: N in channels_last, N * C in contiguous.
template <typename scalar_t, typename offset_t, typename Launch>
void launch_switch_gather2d(const Launch& launch, const scalar_t* x, const offset_t* offsets, scalar_t* output,
                            const Geometry32& g, int64_t images, int64_t channels, Overlap overlap) {
  constexpr int kLanes = kVectorBytes / sizeof(scalar_t);
  using word = word_t<scalar_t>;
  const auto* x_words = reinterpret_cast<const word*>(x);
  auto* output_words = reinterpret_cast<word*>(output);
  const int64_t windows = images * g.h.output * g.w.output;
  // Wider offsets belong to windows of more than 256 taps.
  if constexpr (sizeof(offset_t) == 1) {
    if (overlap == Overlap::sum && matches(g, 2)) {
      const auto fits = [&](int lanes) {
        return pairs_in_vectors(g, lanes) && aligned(x, lanes * sizeof(scalar_t)) && aligned(offsets, lanes / 2);
      };
      const auto pairs = [&](auto lanes) {
        launch(switch_gather2d_pairs_kernel<word, lanes()>, tile(images * g.h.output, g.w.input / lanes()), x_words,
               offsets, output_words, g);
      };
      if (channels == 1 && with_widest_pairs<kLanes>(fits, pairs)) return;
      if (channels % kLanes == 0 && aligned(x, kVectorBytes) && aligned(offsets, kLanes)) {
        launch(switch_gather2d_taps_kernel<word, kLanes>, tile(windows, channels / kLanes), x_words, offsets,
               output_words, g, channels);
        return;
      }
    }
    if (matches(g, 3)) {
      launch(switch_gather2d_windows_kernel<scalar_t, offset_t, 3>, tile(windows, channels), x, offsets, output, g,
             channels, overlap);
      return;
    }
  }
  launch(switch_gather2d_windows_kernel<scalar_t, offset_t, 0>, tile(windows, channels), x, offsets, output, g,
         channels, overlap);
}

}  // namespace wwae

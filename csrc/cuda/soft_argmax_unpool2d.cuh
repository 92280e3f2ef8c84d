// Interpolating unpooling: every value is split over the four taps of its window around its position.
//
//   u = (clamped x + 1) (KW - 1) / 2, i0 = min(floor(u), KW - 2): column i0 gets the part 1 - (u - i0), i0 + 1 the
//   rest; rows likewise from y. A tap of weight 0 gets nothing, also of an infinite value. Windows add in raster order,
//   in float32 for 16-bit floats; pixels without a window are 0.
//
//   what    [N, C, OH, OW]     float, double, bf16, half; contiguous or channels_last, the output likewise
//   where   [N, C, OH, OW, 2]  (x, y), float, or double for double; pairs lie as the elements of what
//   output  [N, C, H, W]       as what; every element is written once, by one thread: deterministic
//
// Three kernels. Where 2 x 2 windows tile the map: "pairs" (contiguous), a thread writes one vector of each of a
// window's two lines, and "taps" (channels_last), a thread writes VEC channels of all taps of a window. All else,
// "pixels": a thread gathers VEC channels of one pixel from the windows over it. Bytes moved per pixel, 16-bit floats,
// 2 x 2: 0.5 + 2 + 2.
#pragma once

#include "cuda/interpolation.cuh"

namespace wwae {

template <typename scalar_t>
struct SoftUnpoolTensors {
  const scalar_t* what;
  const compute_t<scalar_t>* where;
  scalar_t* output;
  int64_t channels;  // of one image: C in channels_last, 1 in contiguous
};

// rows: lines of windows (image, oh); columns: vectors of LANES pixels of a line, LANES / 2 windows each.
template <typename scalar_t, int LANES>
__global__ void soft_argmax_unpool2d_pairs_kernel(SoftUnpoolTensors<scalar_t> tensors, Geometry32 geometry,
                                                  Tiling tiling) {
  constexpr int kWindows = LANES / 2;
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = soft_geometry<2>(geometry);
  const int64_t address = at.row * g.w.output + at.column * kWindows;
  const auto values = load<kWindows>(tensors.what + address);
  const auto positions = load_pairs<kWindows>(tensors.where, address);
  Vector<scalar_t, LANES> line[2];
#pragma unroll
  for (int i = 0; i < kWindows; ++i) {
    const Placed<compute_t<scalar_t>> placed(g, to_compute(values.lane[i]), positions.lane[2 * i],
                                             positions.lane[2 * i + 1]);
#pragma unroll
    for (int tap = 0; tap < 4; ++tap) {
      line[tap / 2].lane[2 * i + tap % 2] = from_compute<scalar_t>(placed.at(tap / 2, tap % 2));
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    store<LANES>(tensors.output + (2 * at.row + r) * g.w.input + at.column * LANES, line[r]);
  }
}

// rows: windows (image, oh, ow); columns: vectors of VEC channels.
template <typename scalar_t, int VEC>
__global__ void soft_argmax_unpool2d_taps_kernel(SoftUnpoolTensors<scalar_t> tensors, Geometry32 geometry,
                                                 Tiling tiling) {
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = soft_geometry<2>(geometry);
  const Pixel window = pixel_at(at.row, g.h.output, g.w.output);
  const int64_t channel = at.column * VEC;
  const int64_t address = at.row * tensors.channels + channel;
  const auto values = load<VEC>(tensors.what + address);
  const auto positions = load_pairs<VEC>(tensors.where, address);
  Vector<scalar_t, VEC> taps[4];
#pragma unroll
  for (int i = 0; i < VEC; ++i) {
    const Placed<compute_t<scalar_t>> placed(g, to_compute(values.lane[i]), positions.lane[2 * i],
                                             positions.lane[2 * i + 1]);
#pragma unroll
    for (int tap = 0; tap < 4; ++tap) taps[tap].lane[i] = from_compute<scalar_t>(placed.at(tap / 2, tap % 2));
  }
#pragma unroll
  for (int tap = 0; tap < 4; ++tap) {
    const int64_t line = window.image * g.h.input + 2 * window.h + tap / 2;
    store<VEC>(tensors.output + (line * g.w.input + 2 * window.w + tap % 2) * tensors.channels + channel, taps[tap]);
  }
}

// rows: pixels (image, h, w); columns: vectors of VEC channels.
template <typename scalar_t, int VEC>
__global__ void soft_argmax_unpool2d_pixels_kernel(SoftUnpoolTensors<scalar_t> tensors, Geometry32 geometry,
                                                   Tiling tiling) {
  using sum_t = compute_t<scalar_t>;
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = soft_geometry<0>(geometry);
  const Pixel pixel = pixel_at(at.row, g.h.input, g.w.input);
  const int64_t channel = at.column * VEC;
  const Range<int32_t> rows = g.h.windows_over(pixel.h);
  const Range<int32_t> columns = g.w.windows_over(pixel.w);
  sum_t sums[VEC] = {};
  for (int32_t oh = rows.begin; oh < rows.end; ++oh) {
    for (int32_t ow = columns.begin; ow < columns.end; ++ow) {
      const int64_t address = ((pixel.image * g.h.output + oh) * g.w.output + ow) * tensors.channels + channel;
      const auto values = load<VEC>(tensors.what + address);
      const auto positions = load_pairs<VEC>(tensors.where, address);
#pragma unroll
      for (int i = 0; i < VEC; ++i) {
        const Placed<sum_t> placed(g, to_compute(values.lane[i]), positions.lane[2 * i], positions.lane[2 * i + 1]);
        sums[i] += placed.at(pixel.h - g.h.start(oh), pixel.w - g.w.start(ow));
      }
    }
  }
  Vector<scalar_t, VEC> result;
#pragma unroll
  for (int i = 0; i < VEC; ++i) result.lane[i] = from_compute<scalar_t>(sums[i]);
  store<VEC>(tensors.output + at.row * tensors.channels + channel, result);
}

// Chooses the kernel. `images`: N in channels_last, N * C in contiguous.
template <typename scalar_t, typename Launch>
void launch_soft_argmax_unpool2d(const Launch& launch, const SoftUnpoolTensors<scalar_t>& tensors, const Geometry32& g,
                                 int64_t images) {
  constexpr int kLanes = kVectorBytes / sizeof(scalar_t);
  constexpr int kVec = kSoftLanes<scalar_t>;
  const bool cells = tiled(g) && matches(g, 2);
  const auto vectors_fit = [&](int lanes) {
    return aligned(tensors.what, lanes * sizeof(scalar_t)) && aligned(tensors.where, kVectorBytes);
  };
  if (tensors.channels == 1 && cells) {
    const auto fits = [&](int lanes) { return pairs_in_vectors(g, lanes) && vectors_fit(lanes); };
    const bool launched = with_widest_pairs<kLanes>(fits, [&](auto lanes) {
      launch(soft_argmax_unpool2d_pairs_kernel<scalar_t, lanes()>, tile(images * g.h.output, g.w.input / lanes()),
             tensors, g);
    });
    if (launched) return;
  }
  const int64_t pixels = images * g.h.input * g.w.input;
  if (tensors.channels % kVec != 0 || !vectors_fit(kVec)) {
    launch(soft_argmax_unpool2d_pixels_kernel<scalar_t, 1>, tile(pixels, tensors.channels), tensors, g);
  } else if (cells) {
    launch(soft_argmax_unpool2d_taps_kernel<scalar_t, kVec>,
           tile(images * g.h.output * g.w.output, tensors.channels / kVec), tensors, g);
  } else {
    launch(soft_argmax_unpool2d_pixels_kernel<scalar_t, kVec>, tile(pixels, tensors.channels / kVec), tensors, g);
  }
}

}  // namespace wwae

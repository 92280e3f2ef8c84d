// Unpooling: put every value back at the pixel its switch names.
//
// Window (oh, ow) with offset r * KW + c claims pixel (oh * SH - PH + r * DH, ow * SW - PW + c * DW). A pixel holds
//
//   Overlap::last  the value of the last window, in raster order, that claims it
//   Overlap::sum   the sum of the claiming windows' values in raster order, in float32 for 16-bit floats
//   Overlap::mean  that sum divided by their number
//
// and 0 where no window claims it. An offset that names no real tap claims nothing.
//
//   x        [N, C, OH, OW]  float, double, bf16, half; contiguous or channels_last, the output likewise
//   offsets  [N, C, OH, OW]  uint8, int16 or int32, or one constant (fixed_unpool2d)
//   output   [N, C, H, W]    as x; every element is written once, by the one thread that owns it: deterministic
//
// Disjoint windows, where values are only moved:
//   pairs     2 x 2 / 2, contiguous: a thread reads the windows of one vector of pixels and writes both its lines
//   cells     channels_last: a thread reads VEC channels of a window and writes its SH x SW cell of pixels
// All else, where a pixel looks at the windows that may claim it (they come from cache after the first time):
//   lines     contiguous: a thread owns 16 bytes of consecutive pixels, across the ends of lines
//   channels  channels_last: a thread owns VEC channels of a pixel
// Bytes moved per pixel, 16-bit floats, 2 x 2: 0.5 + 0.25 + 2.
#pragma once

#include "cuda/collect.cuh"
#include "cuda/tile.cuh"
#include "cuda/vector.cuh"

namespace wwae {

// Offsets as switch_pool2d recorded them.
template <typename offset_t>
struct RecordedSwitches {
  static constexpr bool narrow = sizeof(offset_t) == 1;  // at most 256 taps
  const offset_t* offsets;  // [N, C, OH, OW]

  bool aligned_to(int lanes) const { return aligned(offsets, lanes * sizeof(offset_t)); }

  template <int N>
  __device__ Vector<offset_t, N> at(int64_t address) const {
    return load<N>(offsets + address);
  }
};

// The same offset in every window.
struct FixedSwitches {
  static constexpr bool narrow = true;
  int32_t offset;

  bool aligned_to(int) const { return true; }

  template <int N>
  __device__ Vector<int32_t, N> at(int64_t) const {
    return Vector<int32_t, N>::splat(offset);
  }
};

// How many cells, stride by stride from minus the padding, cover an axis.
inline int64_t cell_count(const BasicAxis<int32_t>& axis) {
  return ceil_divide<int64_t>(static_cast<int64_t>(axis.input) + axis.padding, axis.stride);
}

// rows: lines of cells (image, oh), `cell_lines` an image; columns: vectors of LANES pixels, LANES / 2 windows each.
template <int LANES, typename Values, typename Switches, typename Finish>
__global__ void switch_unpool2d_pairs_kernel(Values x, Switches switches, Finish finish, typename Values::type* output,
                                             Geometry32 geometry, int32_t cell_lines, Tiling tiling) {
  using word = typename Values::type;
  constexpr int kWindows = LANES / 2;
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = specialise<2>(geometry);
  const Quotient cell = divide(at.row, cell_lines);
  const int32_t oh = cell.remainder;
  const int32_t h0 = g.h.start(oh);
  const bool held = oh < g.h.output;  // lines past the last window are zero
  Vector<word, kWindows> values = Vector<word, kWindows>::splat(nothing<word>());
  Vector<int32_t, kWindows> offsets = Vector<int32_t, kWindows>::splat(-1);
  if (held) {
    const int64_t address = (cell.quotient * g.h.output + oh) * g.w.output + at.column * kWindows;
    values = x.template at<kWindows>(address);
    const auto recorded = switches.template at<kWindows>(address);
#pragma unroll
    for (int i = 0; i < kWindows; ++i) offsets.lane[i] = recorded.lane[i];
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    if (!g.h.contains(h0 + r)) continue;
    Vector<word, LANES> line;
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
      line.lane[i] = offsets.lane[i / 2] == 2 * r + i % 2 ? values.lane[i / 2] : nothing<word>();
    }
    const int64_t address = (cell.quotient * g.h.input + h0 + r) * g.w.input + at.column * LANES;
    store<LANES>(output + address, finish.template of<true>(line, address, cell.quotient));
  }
}

// rows: cells (image, oh, ow), `cells` an image; columns: vectors of VEC channels.
template <int VEC, int KERNEL, typename Values, typename Switches, typename Finish>
__global__ void switch_unpool2d_cells_kernel(Values x, Switches switches, Finish finish, typename Values::type* output,
                                             Geometry32 geometry, int64_t channels, int32_t cells_h, int32_t cells_w,
                                             Tiling tiling) {
  using word = typename Values::type;
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = specialise<KERNEL>(geometry);
  const Pixel cell = pixel_at(at.row, cells_h, cells_w);
  const int64_t channel = at.column * VEC;
  const bool held = cell.h < g.h.output && cell.w < g.w.output;  // cells past the last window are zero
  Vector<word, VEC> values = Vector<word, VEC>::splat(nothing<word>());
  Vector<int32_t, VEC> offsets = Vector<int32_t, VEC>::splat(-1);
  if (held) {
    const int64_t address = ((cell.image * g.h.output + cell.h) * g.w.output + cell.w) * channels + channel;
    values = x.template at<VEC>(address);
    const auto recorded = switches.template at<VEC>(address);
#pragma unroll
    for (int i = 0; i < VEC; ++i) offsets.lane[i] = recorded.lane[i];
  }
#pragma unroll
  for (int32_t i = 0; i < g.h.stride; ++i) {
    const int32_t h = g.h.start(cell.h) + i;
    if (!g.h.contains(h)) continue;
    const int32_t r = g.h.tap_at(cell.h, h);
#pragma unroll
    for (int32_t j = 0; j < g.w.stride; ++j) {
      const int32_t w = g.w.start(cell.w) + j;
      if (!g.w.contains(w)) continue;
      const int32_t c = g.w.tap_at(cell.w, w);
      const int32_t tap =
          r >= 0 && c >= 0 ? r * g.w.kernel + c : -2;  // -2: no offset, not even a cell's without window
      Vector<word, VEC> pixel;
#pragma unroll
      for (int k = 0; k < VEC; ++k) pixel.lane[k] = offsets.lane[k] == tap ? values.lane[k] : nothing<word>();
      const int64_t address = ((cell.image * g.h.input + h) * g.w.input + w) * channels + channel;
      store<VEC>(output + address, finish.template of<false>(pixel, address, channel));
    }
  }
}

// rows: vectors of LANES consecutive pixels of the whole map of `pixels`; columns: 1.
template <int LANES, typename Values, typename Switches, typename Finish>
__global__ void switch_unpool2d_lines_kernel(Values x, Switches switches, Finish finish, typename Values::type* output,
                                             Geometry32 geometry, int64_t pixels, Overlap overlap, Tiling tiling) {
  using scalar_t = typename Values::type;
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32& g = geometry;
  const int64_t first = at.row * LANES;
  const int owned = pixels - first < LANES ? static_cast<int>(pixels - first) : LANES;
  Pixel pixel = pixel_at(first, g.h.input, g.w.input);
  Claims<scalar_t, LANES> claims;
  // One turn for each line that the vector touches: pixels `lane` .. `lane + run` of it lie on the line from `w` on.
  for (int lane = 0; lane < owned;) {
    const int run = g.w.input - pixel.w < owned - lane ? g.w.input - pixel.w : owned - lane;
    const Range<int32_t> lines = g.h.windows_over(pixel.h);
    const int32_t begin = g.w.windows_over(pixel.w).begin;
    const int32_t end = g.w.windows_over(pixel.w + run - 1).end;
    for (int32_t oh = lines.begin; oh < lines.end; ++oh) {
      const int32_t r = g.h.tap_at(oh, pixel.h);
      if (r < 0) continue;
      for (int32_t ow = begin; ow < end; ++ow) {
        const int64_t address = (pixel.image * g.h.output + oh) * g.w.output + ow;
        // Unsigned: a corrupt offset may lie anywhere, and one before the row wraps to a large number.
        const auto offset = static_cast<uint32_t>(switches.template at<1>(address).lane[0]);
        const uint32_t c = offset - static_cast<uint32_t>(r * g.w.kernel);
        if (c >= static_cast<uint32_t>(g.w.kernel)) continue;
        const int32_t distance = g.w.position(ow, static_cast<int32_t>(c)) - pixel.w;
        if (distance < 0 || distance >= run) continue;
        const scalar_t value = x.template at<1>(address).lane[0];
        // A bit for the pixel: a comparison of numbers becomes an array in local memory, indexed by the pixel.
        const uint32_t claimed = 1u << (lane + distance);
#pragma unroll
        for (int i = 0; i < LANES; ++i) claims.add(i, (claimed >> i & 1) != 0, value, overlap);
      }
    }
    lane += run;
    pixel.w = 0;
    if (++pixel.h == g.h.input) {
      pixel.h = 0;
      ++pixel.image;
    }
  }
  if (owned == LANES) {
    store<LANES>(output + first, rounded<scalar_t>(finish.template of<true>(claims.pixels(overlap), first, -1)));
  } else {
    const auto totals = claims.pixels(overlap);
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
      if (i >= owned) continue;
      const auto total = Vector<compute_t<scalar_t>, 1>::splat(totals.lane[i]);
      output[first + i] = rounded<scalar_t>(finish.template of<true>(total, first + i, -1)).lane[0];
    }
  }
}

// rows: pixels (image, h, w); columns: vectors of VEC channels.
template <int VEC, int KERNEL, typename Values, typename Switches, typename Finish>
__global__ void switch_unpool2d_channels_kernel(Values x, Switches switches, Finish finish,
                                                typename Values::type* output, Geometry32 geometry, int64_t channels,
                                                Overlap overlap, Tiling tiling) {
  using scalar_t = typename Values::type;
  const Place at = place(tiling);
  if (!at.inside) return;
  const Geometry32 g = specialise<KERNEL>(geometry);
  const Pixel pixel = pixel_at(at.row, g.h.input, g.w.input);
  const int64_t channel = at.column * VEC;
  const Range<int32_t> rows = g.h.windows_over(pixel.h);
  const Range<int32_t> columns = g.w.windows_over(pixel.w);
  Claims<scalar_t, VEC> claims;
  for (int32_t oh = rows.begin; oh < rows.end; ++oh) {
    const int32_t r = g.h.tap_at(oh, pixel.h);
    if (r < 0) continue;
    for (int32_t ow = columns.begin; ow < columns.end; ++ow) {
      const int32_t c = g.w.tap_at(ow, pixel.w);
      if (c < 0) continue;
      const int64_t address = ((pixel.image * g.h.output + oh) * g.w.output + ow) * channels + channel;
      const auto offsets = switches.template at<VEC>(address);
      const Vector<scalar_t, VEC> values = x.template at<VEC>(address);
#pragma unroll
      for (int i = 0; i < VEC; ++i) claims.add(i, offsets.lane[i] == r * g.w.kernel + c, values.lane[i], overlap);
    }
  }
  const int64_t address = at.row * channels + channel;
  store<VEC>(output + address, rounded<scalar_t>(finish.template of<false>(claims.pixels(overlap), address, channel)));
}

// Chooses the kernel. `images`: N in channels_last, N * C in contiguous. `moved` is `x` as the kernels that only move
// data may see it.
template <typename Moved, typename Values, typename Switches, typename Finish, typename Launch>
void launch_unpool(const Launch& launch, const Moved& moved, const Values& x, const Switches& switches,
                   const Finish& finish, typename Values::type* output, const Geometry32& g, int64_t images,
                   int64_t channels, Overlap overlap) {
  constexpr int kLanes = kVectorBytes / sizeof(*output);
  auto* moved_output = reinterpret_cast<typename Moved::type*>(output);
  const int64_t cell_lines = cell_count(g.h);
  const int64_t cell_columns = cell_count(g.w);
  if (channels == 1) {
    if constexpr (Switches::narrow) {
      const auto fits = [&](int lanes) {
        return pairs_in_vectors(g, lanes) && x.aligned_to(lanes / 2) && switches.aligned_to(lanes / 2) &&
               finish.aligned_to(lanes);
      };
      const bool launched = with_widest_pairs<kLanes>(fits, [&](auto lanes) {
        launch(switch_unpool2d_pairs_kernel<lanes(), Moved, Switches, Finish>,
               tile(images * cell_lines, g.w.input / lanes()), moved, switches, finish, moved_output, g,
               static_cast<int32_t>(cell_lines));
      });
      if (launched) return;
    }
    const int64_t pixels = images * g.h.input * g.w.input;
    const auto lines = [&](auto lanes) {
      launch(switch_unpool2d_lines_kernel<lanes(), Values, Switches, Finish>,
             tile(ceil_divide<int64_t>(pixels, lanes()), 1), x, switches, finish, output, g, pixels, overlap);
    };
    return finish.aligned_to(kLanes) ? lines(Constant<kLanes>()) : lines(Constant<1>());
  }

  const auto by_cells = [&](auto vec, auto kernel) {
    launch(switch_unpool2d_cells_kernel<vec(), kernel(), Moved, Switches, Finish>,
           tile(images * cell_lines * cell_columns, channels / vec()), moved, switches, finish, moved_output, g,
           channels, static_cast<int32_t>(cell_lines), static_cast<int32_t>(cell_columns));
  };
  const auto by_pixels = [&](auto vec, auto kernel) {
    launch(switch_unpool2d_channels_kernel<vec(), kernel(), Values, Switches, Finish>,
           tile(images * g.h.input * g.w.input, channels / vec()), x, switches, finish, output, g, channels, overlap);
  };
  // Wider offsets belong to windows of more than 256 taps: one kernel is enough for them.
  if constexpr (Switches::narrow) {
    const bool whole =
        channels % kLanes == 0 && x.aligned_to(kLanes) && switches.aligned_to(kLanes) && finish.aligned_to(kLanes);
    // A thread writes a whole cell: few enough pixels that the map still fills the device.
    const bool cells =
        g.disjoint() && g.h.padding >= 0 && g.w.padding >= 0 && static_cast<int64_t>(g.h.stride) * g.w.stride <= 16;
    if (cells && matches(g, 2)) {
      return whole ? by_cells(Constant<kLanes>(), Constant<2>()) : by_cells(Constant<1>(), Constant<2>());
    }
    if (cells) return whole ? by_cells(Constant<kLanes>(), Constant<0>()) : by_cells(Constant<1>(), Constant<0>());
    if (whole && matches(g, 3)) return by_pixels(Constant<kLanes>(), Constant<3>());
    if (whole) return by_pixels(Constant<kLanes>(), Constant<0>());
  }
  by_pixels(Constant<1>(), Constant<0>());
}

template <typename scalar_t, typename Switches, typename Launch>
void launch_switch_unpool2d(const Launch& launch, const scalar_t* x, const Switches& switches, scalar_t* output,
                            const Geometry32& g, int64_t images, int64_t channels, Overlap overlap) {
  using word = word_t<scalar_t>;
  const Overlap mode = g.disjoint() ? Overlap::last : overlap;  // disjoint windows never meet: the modes agree
  launch_unpool(launch, PlainValues<word>{reinterpret_cast<const word*>(x)}, PlainValues<scalar_t>{x}, switches,
                AsCollected(), output, g, images, channels, mode);
}

}  // namespace wwae

// switch_unpool2d: a map (N, C, H, W) with every x (N, C, OH, OW) at its switch and 0 elsewhere.
//
// Where windows overlap and point at one pixel: "last" keeps the last in raster order, "sum" adds in raster order,
// "mean" divides that sum by the number of claims. Sums of bfloat16 and float16 are kept in float32 and rounded once.
//
// Contiguous: small planes several at a time (small_planes.h), 2x2/2 windows in rows (unpool_2x2.h), others in tiles of
// rows (unpool_tile.h). Channels-last: small windows with a row of pixels of one image as work item and vector lanes =
// channels, where every pixel looks at the windows that may point at it; others in tiles.
//
// Bytes moved per pixel, s = element size, o = offset size, A = pixels per window: write s, read (s + o) / A.
#include <algorithm>

#include "common/checks.h"
#include "common/dtype.h"
#include "cpu/accumulate.h"
#include "cpu/claims.h"
#include "cpu/small_planes.h"
#include "cpu/tasks.h"
#include "cpu/unpool_2x2.h"
#include "cpu/unpool_tile.h"

namespace wwae {
namespace {

// Windows up to this size are looked at from every pixel of a channels-last image; larger ones, of which most pixels
// are 0, write to a cleared tile.
constexpr int64_t kPixelTaps = 16;

template <typename scalar_t, typename offset_t, Overlap overlap>
void unpool_tiles(const Geometry& g, int64_t images, int64_t channels, const element_t<scalar_t>* x,
                  const offset_t* offsets, element_t<scalar_t>* map) {
  using Unpool = TileUnpool<scalar_t, offset_t, overlap>;
  const TapTable taps(g, g.w.input * channels, channels);
  const int64_t tile_rows = Unpool::tile_rows(g, channels);
  const int64_t tiles = ceil_divide(g.h.input, tile_rows);
  const int64_t windows = g.h.output * g.w.output * channels;
  const int64_t pixels = g.h.input * g.w.input * channels;
  const int64_t grain = grain_size(tile_rows * g.w.input * channels);
  parallel_for(0, images * tiles, grain, [&](int64_t begin, int64_t end) {
    Unpool unpool(g, channels, taps);
    for_each_item(begin, end, tiles, [&](int64_t image, int64_t tile) {
      const int64_t first = tile * tile_rows;
      const Range<int64_t> rows = {first, std::min(first + tile_rows, g.h.input)};
      unpool.tile(x + image * windows, offsets + image * windows, rows, map + image * pixels);
    });
  });
}

template <typename scalar_t>
void unpool_2x2(const Geometry& g, int64_t planes, const element_t<scalar_t>* x, const uint8_t* offsets,
                element_t<scalar_t>* map) {
  parallel_for(0, planes * g.h.input, grain_size(g.w.input), [&](int64_t begin, int64_t end) {
    unpool_2x2_rows<scalar_t>(g, planes, {begin, end}, x, offsets, map);
  });
}

template <typename scalar_t, Overlap overlap>
void unpool_small(const Geometry& g, int64_t planes, const element_t<scalar_t>* x, const uint8_t* offsets,
                  element_t<scalar_t>* map) {
  using sum_t = accumulate_t<scalar_t>;
  const SmallPlanes small(g);
  const int64_t sums = overlap == Overlap::sum ? small.sums<scalar_t>() : 0;
  const auto scratch = [=] { return std::vector<sum_t>(sums); };
  for_each_group(planes, small.together(), small.pixels(), scratch, [&](std::vector<sum_t>& own, Group group) {
    const int64_t first = group.first * small.windows();
    element_t<scalar_t>* out = map + group.first * small.pixels();
    if constexpr (overlap == Overlap::sum) {
      small.add<scalar_t>(group.images, x + first, offsets + first, own.data(), out);
    } else {
      small.scatter(group.images, x + first, offsets + first, out);
    }
  });
}

// All channels of one pixel. `rows`, `columns`: the claims on it; `x` and `offsets`: the image (OH, OW, C).
template <typename scalar_t, Overlap overlap>
void unpool_pixel(const Geometry& g, int64_t channels, Range<const Claim*> rows, Range<const Claim*> columns,
                  const element_t<scalar_t>* x, const uint8_t* offsets, element_t<scalar_t>* out) {
  using element = element_t<scalar_t>;
  constexpr bool kSum = overlap != Overlap::last;
  constexpr bool kMean = overlap == Overlap::mean;
  using value_t = std::conditional_t<kSum, accumulate_t<scalar_t>, element>;
  using lane_t = signed_t<value_t>;
  // Several vectors at a time, so that a claim reads whole neighbouring cache lines.
  for_offset_chunks<value_t, uint8_t, 4>(channels, [&](auto width, int64_t i) {
    constexpr int U = vectors_in<value_t>(width);
    constexpr int N = width / U;
    const Vector<value_t, N> zero{};
    Vector<value_t, N> result[U]{};
    [[maybe_unused]] Vector<value_t, N> count[U]{};
    for (const Claim* row = rows.begin; row < rows.end; ++row) {
      for (const Claim* column = columns.begin; column < columns.end; ++column) {
        const int64_t at = (row->window * g.w.output + column->window) * channels + i;
        const auto tap = static_cast<lane_t>(row->tap * g.w.kernel + column->tap);
#pragma GCC unroll 4
        for (int u = 0; u < U; ++u) {
          const Vector<element, N> value = load<N>(x + at + u * N);
          const auto claimed = convert<lane_t, uint8_t, N>(load<N>(offsets + at + u * N)) == tap;
          if constexpr (kSum) {
            const Vector<value_t, N> wide = widen<scalar_t, N>(value);
            result[u] += claimed ? wide : zero;
            if constexpr (kMean) count[u] += claimed ? zero + 1 : zero;
          } else {
            result[u] = claimed ? value : result[u];
          }
        }
      }
    }
    for (int u = 0; u < U; ++u) {
      if constexpr (kSum) {
        if constexpr (kMean) result[u] = result[u] / (count[u] > 1 ? count[u] : zero + 1);
        store<N>(out + i + u * N, narrow<scalar_t, N>(result[u]));
      } else {
        store<N>(out + i + u * N, result[u]);
      }
    }
  });
}

// Channels-last images (H, W, C).
template <typename scalar_t, Overlap overlap>
void unpool_pixels(const Geometry& g, int64_t batch, int64_t channels, const element_t<scalar_t>* x,
                   const uint8_t* offsets, element_t<scalar_t>* map) {
  const Claims rows(g.h);
  const Claims columns(g.w);
  const int64_t windows = g.h.output * g.w.output * channels;
  const int64_t row_size = g.w.input * channels;
  parallel_for(0, batch * g.h.input, grain_size(row_size), [&](int64_t begin, int64_t end) {
    for_each_item(begin, end, g.h.input, [&](int64_t n, int64_t h) {
      for (int64_t w = 0; w < g.w.input; ++w) {
        unpool_pixel<scalar_t, overlap>(g, channels, {rows.begin(h), rows.end(h)}, {columns.begin(w), columns.end(w)},
                                        x + n * windows, offsets + n * windows,
                                        map + (n * g.h.input + h) * row_size + w * channels);
      }
    });
  });
}

template <typename scalar_t, typename offset_t, Overlap overlap>
void unpool_as(const Geometry& g, const Tensor& x, const Tensor& offsets, MemoryFormat layout, const Tensor& map) {
  const auto* value = elements<scalar_t>(x);
  const auto* offset = static_cast<const offset_t*>(offsets.const_data_ptr());
  auto* out = mutable_elements<scalar_t>(map);
  const int64_t batch = x.size(0), channels = x.size(1);
  const bool channels_last = layout == MemoryFormat::ChannelsLast;
  if constexpr (std::is_same_v<offset_t, uint8_t>) {
    if (channels_last && g.taps() <= kPixelTaps) {
      return unpool_pixels<scalar_t, overlap>(g, batch, channels, value, offset, out);
    }
    if constexpr (overlap != Overlap::mean) {
      if (!channels_last && SmallPlanes::fit(g)) {
        return unpool_small<scalar_t, overlap>(g, batch * channels, value, offset, out);
      }
    }
    if constexpr (overlap == Overlap::last) {
      if (!channels_last && is_2x2(g)) return unpool_2x2<scalar_t>(g, batch * channels, value, offset, out);
    }
  }
  const int64_t images = channels_last ? batch : batch * channels;
  unpool_tiles<scalar_t, offset_t, overlap>(g, images, channels_last ? channels : 1, value, offset, out);
}

template <typename scalar_t, typename offset_t>
void unpool(const Geometry& g, Overlap overlap, const Tensor& x, const Tensor& offsets, MemoryFormat layout,
            const Tensor& map) {
  // Keeping the last value only copies bits, for which one 16-bit format stands for both.
  using copied_t = std::conditional_t<std::is_same_v<scalar_t, Half>, BFloat16, scalar_t>;
  const auto run = overlap == Overlap::last  ? unpool_as<copied_t, offset_t, Overlap::last>
                   : overlap == Overlap::sum ? unpool_as<scalar_t, offset_t, Overlap::sum>
                                             : unpool_as<scalar_t, offset_t, Overlap::mean>;
  run(g, x, offsets, layout, map);
}

Tensor switch_unpool2d_cpu(const Tensor& x, const Tensor& offsets, const Pair& kernel_size, const Pair& stride,
                           const Pair& padding, const Pair& dilation, const Pair& output_size,
                           const std::string& overlap) {
  constexpr const char* op = "switch_unpool2d";
  check_4d(op, "x", x);
  check_shape(op, "offsets", offsets, x.sizes());
  check_same_device(op, "offsets", offsets, x);
  const Geometry g = unpool_geometry(op, x, kernel_size, stride, padding, dilation, output_size);
  const ScalarType offsets_type = offset_dtype(g.taps());
  check_dtype(op, "offsets", offsets, offsets_type);
  const Overlap asked = parse_overlap(op, overlap);
  const Overlap mode = g.disjoint() ? Overlap::last : asked;  // disjoint windows never meet: the modes agree
  const MemoryFormat layout = memory_format_of(x);
  Tensor map = allocate({x.size(0), x.size(1), g.h.input, g.w.input}, x.scalar_type(), layout, x);
  dispatch_floating(op, x, [&](auto scalar) {
    dispatch_offset(op, offsets_type, [&](auto offset) {
      using scalar_t = typename decltype(scalar)::type;
      using offset_t = typename decltype(offset)::type;
      if (map.numel() == 0) return;
      unpool<scalar_t, offset_t>(g, mode, with_layout(x, layout), with_layout(offsets, layout), layout, map);
    });
  });
  return map;
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) { m.impl("switch_unpool2d", TORCH_BOX(&switch_unpool2d_cpu)); }

}  // namespace
}  // namespace wwae

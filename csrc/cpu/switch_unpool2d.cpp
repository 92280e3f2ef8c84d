// switch_unpool2d: a map (N, C, H, W) with every x (N, C, OH, OW) at its switch and 0 elsewhere.
//
// Where windows overlap and point at one pixel: "last" keeps the last in raster order, "sum" adds in raster order,
// "mean" divides that sum by the number of claims. Sums of bfloat16 and float16 are kept in float32 and rounded once.
//
// Contiguous: unpool_plane.h, work item = a tile of rows of one plane. Channels-last, work item = a row of pixels of
// one image, vector lanes = channels: every pixel looks at the windows that may point at it.
//
// Bytes moved per pixel, s = element size, o = offset size, A = pixels per window: write s, read (s + o) / A.
#include <algorithm>

#include "common/checks.h"
#include "common/dtype.h"
#include "cpu/accumulate.h"
#include "cpu/claims.h"
#include "cpu/tasks.h"
#include "cpu/unpool_plane.h"

namespace wwae {
namespace {

template <typename scalar_t, typename offset_t, Overlap overlap>
void unpool_contiguous(const Geometry& g, int64_t planes, const element_t<scalar_t>* x, const offset_t* offsets,
                       element_t<scalar_t>* map) {
  using Plane = PlaneUnpool<scalar_t, offset_t, overlap>;
  const TapTable taps(g, g.w.input, 1);
  const int64_t tile_rows = Plane::tile_rows(g);
  const int64_t tiles = ceil_divide(g.h.input, tile_rows);
  const int64_t windows = g.h.output * g.w.output;
  parallel_for(0, planes * tiles, grain_size(tile_rows * g.w.input), [&](int64_t begin, int64_t end) {
    Plane plane(g, taps);
    for_each_item(begin, end, tiles, [&](int64_t p, int64_t tile) {
      const int64_t first = tile * tile_rows;
      const Range<int64_t> rows = {first, std::min(first + tile_rows, g.h.input)};
      plane.tile(x + p * windows, offsets + p * windows, rows, map + p * g.h.input * g.w.input);
    });
  });
}

bool is_2x2(const Geometry& g) {
  const auto is_2 = [](const Axis& axis) {
    return axis.kernel == 2 && axis.stride == 2 && axis.dilation == 1 && axis.padding <= 1;
  };
  return is_2(g.h) && is_2(g.w);
}

template <typename scalar_t>
void unpool_contiguous_2x2(const Geometry& g, int64_t planes, const element_t<scalar_t>* x, const uint8_t* offsets,
                           element_t<scalar_t>* map) {
  const int64_t windows = g.h.output * g.w.output;
  const Range<int64_t> whole = g.w.whole_windows();
  parallel_for(0, planes * g.h.input, grain_size(g.w.input), [&](int64_t begin, int64_t end) {
    for_each_item(begin, end, g.h.input, [&](int64_t p, int64_t h) {
      const int64_t oh = (h + g.h.padding) / 2;
      element_t<scalar_t>* out = map + (p * g.h.input + h) * g.w.input;
      if (oh < g.h.output) {
        const int64_t first = p * windows + oh * g.w.output;
        unpool_row_2x2<scalar_t>(g.w, whole, x + first, offsets + first, (h + g.h.padding) % 2, out);
      } else {
        std::fill_n(out, g.w.input, element_t<scalar_t>{0});
      }
    });
  });
}

// All channels of one pixel; `kSum` adds the claims, and `mean` divides by their number. `rows`, `columns`: the claims
// on it; `x` and `offsets`: the image (OH, OW, C).
template <typename scalar_t, typename offset_t, bool kSum>
void unpool_pixel(const Geometry& g, bool mean, int64_t channels, Range<const Claim*> rows, Range<const Claim*> columns,
                  const element_t<scalar_t>* x, const offset_t* offsets, element_t<scalar_t>* out) {
  using element = element_t<scalar_t>;
  using value_t = std::conditional_t<kSum, accumulate_t<scalar_t>, element>;
  using lane_t = offset_lane_t<value_t, offset_t>;
  // Several vectors at a time, so that a claim reads whole neighbouring cache lines.
  for_offset_chunks<value_t, offset_t, 4>(channels, [&](auto width, int64_t i) {
    constexpr int U = vectors_in<value_t>(width);
    constexpr int N = width / U;
    const Vector<value_t, N> zero{};
    Vector<value_t, N> result[U]{};
    Vector<value_t, N> count[U]{};
    for (const Claim* row = rows.begin; row < rows.end; ++row) {
      for (const Claim* column = columns.begin; column < columns.end; ++column) {
        const int64_t at = (row->window * g.w.output + column->window) * channels + i;
        const auto tap = static_cast<lane_t>(row->tap * g.w.kernel + column->tap);
#pragma GCC unroll 4
        for (int u = 0; u < U; ++u) {
          const Vector<element, N> value = load<N>(x + at + u * N);
          const auto claimed = convert<lane_t, offset_t, N>(load<N>(offsets + at + u * N)) == tap;
          if constexpr (kSum) {
            const Vector<value_t, N> wide = widen<scalar_t, N>(value);
            result[u] += claimed ? wide : zero;
            count[u] += claimed ? zero + 1 : zero;
          } else {
            result[u] = claimed ? value : result[u];
          }
        }
      }
    }
    for (int u = 0; u < U; ++u) {
      if constexpr (kSum) {
        if (mean) result[u] = result[u] / (count[u] > 1 ? count[u] : zero + 1);
        store<N>(out + i + u * N, narrow<scalar_t, N>(result[u]));
      } else {
        store<N>(out + i + u * N, result[u]);
      }
    }
  });
}

template <typename scalar_t, typename offset_t, bool kSum>
void unpool_channels_last(const Geometry& g, bool mean, int64_t batch, int64_t channels, const element_t<scalar_t>* x,
                          const offset_t* offsets, element_t<scalar_t>* map) {
  const Claims rows(g.h);
  const Claims columns(g.w);
  const int64_t windows = g.h.output * g.w.output * channels;
  const int64_t row_size = g.w.input * channels;
  parallel_for(0, batch * g.h.input, grain_size(row_size), [&](int64_t begin, int64_t end) {
    for_each_item(begin, end, g.h.input, [&](int64_t n, int64_t h) {
      for (int64_t w = 0; w < g.w.input; ++w) {
        unpool_pixel<scalar_t, offset_t, kSum>(
            g, mean, channels, {rows.begin(h), rows.end(h)}, {columns.begin(w), columns.end(w)}, x + n * windows,
            offsets + n * windows, map + (n * g.h.input + h) * row_size + w * channels);
      }
    });
  });
}

template <typename scalar_t, typename offset_t>
void unpool(const Geometry& g, Overlap overlap, const Tensor& x, const Tensor& offsets, MemoryFormat layout,
            const Tensor& map) {
  // Keeping the last value only copies bits, for which one 16-bit format stands for both.
  using copied_t = std::conditional_t<std::is_same_v<scalar_t, Half>, BFloat16, scalar_t>;
  const auto* value = elements<scalar_t>(x);
  const auto* offset = static_cast<const offset_t*>(offsets.const_data_ptr());
  auto* out = mutable_elements<scalar_t>(map);
  if (layout == MemoryFormat::ChannelsLast) {
    const auto run = overlap == Overlap::last ? unpool_channels_last<copied_t, offset_t, false>
                                              : unpool_channels_last<scalar_t, offset_t, true>;
    return run(g, overlap == Overlap::mean, x.size(0), x.size(1), value, offset, out);
  }
  const int64_t planes = x.size(0) * x.size(1);
  if constexpr (std::is_same_v<offset_t, uint8_t>) {
    if (overlap == Overlap::last && is_2x2(g)) return unpool_contiguous_2x2<copied_t>(g, planes, value, offset, out);
  }
  const auto run = overlap == Overlap::last  ? unpool_contiguous<copied_t, offset_t, Overlap::last>
                   : overlap == Overlap::sum ? unpool_contiguous<scalar_t, offset_t, Overlap::sum>
                                             : unpool_contiguous<scalar_t, offset_t, Overlap::mean>;
  run(g, planes, value, offset, out);
}

Tensor switch_unpool2d_cpu(const Tensor& x, const Tensor& offsets, const Pair& kernel_size, const Pair& stride,
                           const Pair& padding, const Pair& dilation, const Pair& output_size,
                           const std::string& overlap) {
  constexpr const char* op = "switch_unpool2d";
  check_4d(op, "x", x);
  check_shape(op, "offsets", offsets, sizes_of(x));
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

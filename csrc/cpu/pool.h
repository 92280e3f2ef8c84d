// Max pooling with switches on the CPU: what switch_pool2d and max_pool2d share.
//
// Per window: the first maximum in raster order and its offset r * KW + c; the last NaN where there is one; -inf and
// the first real tap for a window of -inf; -inf and 0 for a window without a real tap.
//
// Contiguous, work item = one row of windows of one plane, vector lanes = windows (pool_plane.h). Channels-last, work
// item = one window of one image, vector lanes = channels, tap after tap (below).
//
// Bytes moved per window, s = element size, o = offset size: read KH * KW * s when windows do not overlap, write s + o.
#pragma once

#include <algorithm>
#include <vector>

#include "common/geometry.h"
#include "cpu/lanes.h"
#include "cpu/pool_plane.h"
#include "cpu/tasks.h"

namespace wwae {

// All channels of one window of a channels-last image (H, W, C); `rows` and `columns` are its real taps.
template <typename scalar_t, typename offset_t>
void pool_pixel(const Geometry& g, const element_t<scalar_t>* image, int64_t channels, int64_t oh, int64_t ow,
                Range<int64_t> rows, Range<int64_t> columns, element_t<scalar_t>* values, offset_t* offsets) {
  using E = Element<scalar_t>;
  using element = typename E::type;
  using lane_t = offset_lane_t<element, offset_t>;
  if (rows.begin >= rows.end || columns.begin >= columns.end) {
    std::fill_n(values, channels, E::kLowest);
    std::fill_n(offsets, channels, offset_t{0});
    return;
  }
  const int64_t row_step = g.h.dilation * g.w.input * channels;
  const int64_t column_step = g.w.dilation * channels;
  const int64_t first_tap = rows.begin * g.w.kernel + columns.begin;
  const element* first =
      image + (g.h.position(oh, rows.begin) * g.w.input + g.w.position(ow, columns.begin)) * channels;
  for_offset_chunks<element, offset_t>(channels, [&](auto width, int64_t i) {
    constexpr int N = width;
    Vector<element, N> best = load<N>(first + i);
    Vector<lane_t, N> offset = broadcast<N>(static_cast<lane_t>(first_tap));
    for (int64_t r = 0; r < rows.end - rows.begin; ++r) {
      const element* x = first + r * row_step + i;
      const int64_t tap = first_tap + r * g.w.kernel;
      for (int64_t c = r == 0 ? 1 : 0; c < columns.end - columns.begin; ++c) {
        const Vector<element, N> value = load<N>(x + c * column_step);
        const auto better = E::beats(value, best);
        best = better ? value : best;
        offset = better ? broadcast<N>(static_cast<lane_t>(tap + c)) : offset;
      }
    }
    store<N>(values + i, best);
    store<N>(offsets + i, convert<offset_t, lane_t, N>(offset));
  });
}

// Pools x (N, C, H, W) of the given layout into values and offsets (N, C, OH, OW) of the same layout.
//
// `finish(oh, ow, first, count)` is called when the `count` outputs from flat position `first`, in memory order, are
// complete: a row of windows from (oh, 0) of a contiguous plane, or all channels of the window (oh, ow).
template <typename scalar_t, typename offset_t, typename Finish>
void pool(const Geometry& g, const Tensor& x, MemoryFormat layout, const Tensor& values, const Tensor& offsets,
          const Finish& finish) {
  const int64_t batch = x.size(0);
  const int64_t channels = x.size(1);
  const auto* input = elements<scalar_t>(x);
  auto* value = mutable_elements<scalar_t>(values);
  auto* offset = static_cast<offset_t*>(offsets.mutable_data_ptr());
  const int64_t map = g.h.input * g.w.input;

  if (layout == MemoryFormat::Contiguous) {
    const int64_t rows = batch * channels * g.h.output;
    parallel_for(0, rows, grain_size(g.h.kernel * g.w.input), [&](int64_t begin, int64_t end) {
      PlanePool<scalar_t, offset_t> plane(g);
      for (int64_t row = begin; row < end; ++row) {
        const int64_t oh = row % g.h.output;
        const int64_t first = row * g.w.output;
        plane.row(input + row / g.h.output * map, oh, value + first, offset + first);
        finish(oh, int64_t{0}, first, g.w.output);
      }
    });
    return;
  }
  std::vector<Range<int64_t>> columns(g.w.output);
  for (int64_t ow = 0; ow < g.w.output; ++ow) columns[ow] = g.w.taps(ow);
  const int64_t row_size = g.w.output * channels;
  parallel_for(0, batch * g.h.output, grain_size(g.taps() * row_size), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t oh = row % g.h.output;
      const auto* image = input + row / g.h.output * map * channels;
      const Range<int64_t> rows = g.h.taps(oh);
      for (int64_t ow = 0; ow < g.w.output; ++ow) {
        const int64_t first = row * row_size + ow * channels;
        pool_pixel<scalar_t, offset_t>(g, image, channels, oh, ow, rows, columns[ow], value + first, offset + first);
        finish(oh, ow, first, channels);
      }
    }
  });
}

}  // namespace wwae

// Max pooling with switches on the CPU: what switch_pool2d and max_pool2d share.
//
// Per window: the first maximum in raster order and its offset r * KW + c; the last NaN where there is one; -inf and
// the first real tap for a window of -inf; -inf and 0 for a window without a real tap.
//
// Contiguous, work item = one row of windows of one plane:
//   2x2/2 and 3x3/2 windows whose taps are all real: all taps of a window in registers, vector lanes = windows of a
//   row; other windows: first down the rows of the window (lanes = columns of x), then across (lanes = windows),
//   because KH unit-stride steps per column and KW strided steps per window are fewer than KH * KW strided steps per
//   window.
// Channels-last, work item = one window of one image: vector lanes = channels, tap after tap.
//
// Bytes moved per window, s = element size, o = offset size: read KH * KW * s when windows do not overlap, write s + o.
#pragma once

#include <algorithm>
#include <vector>

#include "common/geometry.h"
#include "cpu/order.h"

namespace wwae {

// Windows handed to one thread read at least this many elements: below, waking a thread costs more than it saves.
constexpr int64_t kElementsPerTask = 16384;

inline int64_t grain_size(int64_t elements_per_item) {
  return std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(1, elements_per_item));
}

// n neighbouring windows of a row, all taps real; `x` is the first tap of the first window.
template <typename scalar_t, typename offset_t, int KH, int KW, int SW>
void pool_interior(const element_t<scalar_t>* x, int64_t row_stride, int64_t n, element_t<scalar_t>* values,
                   offset_t* offsets) {
  using lane_t = offset_lane_t<scalar_t, offset_t>;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    element_t<scalar_t> best = x[i * SW];
    lane_t offset = 0;
#pragma GCC unroll 9
    for (int tap = 1; tap < KH * KW; ++tap) {
      const element_t<scalar_t> value = x[(tap / KW) * row_stride + i * SW + tap % KW];
      const bool better = beats<scalar_t>(value, best);
      best = better ? value : best;
      offset = better ? static_cast<lane_t>(tap) : offset;
    }
    values[i] = best;
    offsets[i] = static_cast<offset_t>(offset);
  }
}

// The rows of windows of a contiguous plane. One object per thread: it owns the scratch rows.
template <typename scalar_t, typename offset_t>
class PlanePool {
 public:
  using element = element_t<scalar_t>;
  using lane_t = offset_lane_t<scalar_t, offset_t>;

  explicit PlanePool(const Geometry& geometry) : g_(geometry) {
    fixed_ = g_.h.dilation == 1 && g_.w.dilation == 1 && g_.w.stride == 2 && g_.h.kernel == g_.w.kernel &&
             (g_.w.kernel == 2 || g_.w.kernel == 3);
    if (fixed_) {
      interior_ = {g_.w.windows_with(0).begin, g_.w.windows_with(g_.w.kernel - 1).end};
      interior_.end = std::max(interior_.begin, interior_.end);
    }
    first_tap_.resize(g_.w.output);
    for (int64_t ow = 0; ow < g_.w.output; ++ow) {
      const Range<int64_t> taps = g_.w.taps(ow);
      first_tap_[ow] = taps.begin < taps.end ? taps.begin : kNoTap;
      has_windowless_ |= taps.begin >= taps.end;
    }
  }

  // `plane`: (H, W); `values`, `offsets`: the row `oh` of (OH, OW).
  void row(const element* plane, int64_t oh, element* values, offset_t* offsets) {
    const Range<int64_t> rows = g_.h.taps(oh);
    if (rows.begin >= rows.end) {
      std::fill_n(values, g_.w.output, Element<scalar_t>::kLowest);
      std::fill_n(offsets, g_.w.output, offset_t{0});
      return;
    }
    if (!fixed_ || rows.end - rows.begin < g_.h.kernel) {
      separable_row(plane, oh, rows, values, offsets);
      return;
    }
    for (int64_t ow = 0; ow < interior_.begin; ++ow) window(plane, oh, ow, values, offsets);
    const element* x = plane + g_.h.start(oh) * g_.w.input + g_.w.start(interior_.begin);
    const int64_t n = interior_.end - interior_.begin;
    if (g_.w.kernel == 2) {
      pool_interior<scalar_t, offset_t, 2, 2, 2>(x, g_.w.input, n, values + interior_.begin, offsets + interior_.begin);
    } else {
      pool_interior<scalar_t, offset_t, 3, 3, 2>(x, g_.w.input, n, values + interior_.begin, offsets + interior_.begin);
    }
    for (int64_t ow = interior_.end; ow < g_.w.output; ++ow) window(plane, oh, ow, values, offsets);
  }

 private:
  static constexpr int64_t kNoTap = -1;

  // One window, tap after tap.
  void window(const element* plane, int64_t oh, int64_t ow, element* values, offset_t* offsets) const {
    const Range<int64_t> rows = g_.h.taps(oh);
    const Range<int64_t> columns = g_.w.taps(ow);
    element best = Element<scalar_t>::kLowest;
    int64_t offset = columns.begin < columns.end ? rows.begin * g_.w.kernel + columns.begin : 0;
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      for (int64_t c = columns.begin; c < columns.end; ++c) {
        const element value = plane[g_.h.position(oh, r) * g_.w.input + g_.w.position(ow, c)];
        if (beats<scalar_t>(value, best)) {
          best = value;
          offset = r * g_.w.kernel + c;
        }
      }
    }
    values[ow] = best;
    offsets[ow] = static_cast<offset_t>(offset);
  }

  void separable_row(const element* plane, int64_t oh, Range<int64_t> rows, element* values, offset_t* offsets) {
    reduce_rows(plane, oh, rows);
    const int64_t n = g_.w.output;
    best_offset_.resize(n);
    for (int64_t ow = 0; ow < n; ++ow) {
      values[ow] = Element<scalar_t>::kLowest;
      best_offset_[ow] = static_cast<lane_t>(rows.begin * g_.w.kernel + first_tap_[ow]);
    }
    switch (g_.w.stride) {
      case 1:
        return reduce_columns(std::integral_constant<int64_t, 1>{}, values, offsets);
      case 2:
        return reduce_columns(std::integral_constant<int64_t, 2>{}, values, offsets);
      default:
        return reduce_columns(g_.w.stride, values, offsets);
    }
  }

  // Down the window: for every column of x the best of its rows, and r * KW of that row.
  void reduce_rows(const element* plane, int64_t oh, Range<int64_t> rows) {
    const int64_t width = g_.w.input;
    column_best_.resize(width);
    column_offset_.resize(width);
    element* __restrict__ best = column_best_.data();
    lane_t* __restrict__ offset = column_offset_.data();
    const element* x = plane + g_.h.position(oh, rows.begin) * width;
    std::copy_n(x, width, best);
    std::fill_n(offset, width, static_cast<lane_t>(rows.begin * g_.w.kernel));
    for (int64_t r = rows.begin + 1; r < rows.end; ++r) {
      x += g_.h.dilation * width;
      const lane_t candidate = static_cast<lane_t>(r * g_.w.kernel);
#pragma omp simd
      for (int64_t w = 0; w < width; ++w) {
        const bool better = beats<scalar_t>(x[w], best[w]);
        best[w] = better ? x[w] : best[w];
        offset[w] = better ? candidate : offset[w];
      }
    }
  }

  // Across the window: the best of its columns. A later column may hold a tie or a NaN of an earlier row.
  template <typename Stride>
  void reduce_columns(Stride stride, element* __restrict__ values, offset_t* __restrict__ offsets) {
    lane_t* __restrict__ best_offset = best_offset_.data();
    for (int64_t c = 0; c < g_.w.kernel; ++c) {
      const Range<int64_t> windows = g_.w.windows_with(c);
      const element* column = column_best_.data() + c * g_.w.dilation - g_.w.padding;
      const lane_t* row_offset = column_offset_.data() + c * g_.w.dilation - g_.w.padding;
#pragma omp simd
      for (int64_t ow = windows.begin; ow < windows.end; ++ow) {
        const element value = column[ow * stride];
        const lane_t offset = static_cast<lane_t>(row_offset[ow * stride] + static_cast<lane_t>(c));
        const bool better = beats_at<scalar_t, lane_t>(value, offset, values[ow], best_offset[ow]);
        values[ow] = better ? value : values[ow];
        best_offset[ow] = better ? offset : best_offset[ow];
      }
    }
    for (int64_t ow = 0; ow < g_.w.output; ++ow) offsets[ow] = static_cast<offset_t>(best_offset[ow]);
    if (has_windowless_) {
      for (int64_t ow = 0; ow < g_.w.output; ++ow) {
        if (first_tap_[ow] == kNoTap) offsets[ow] = 0;
      }
    }
  }

  Geometry g_;
  bool fixed_;  // windows of the interior have a kernel of their own
  Range<int64_t> interior_;  // windows of a row whose columns are all real
  bool has_windowless_ = false;
  std::vector<int64_t> first_tap_;  // [OW] first real column of each window, or kNoTap
  std::vector<element> column_best_;  // [W]
  std::vector<lane_t> column_offset_;  // [W] r * KW of column_best_
  std::vector<lane_t> best_offset_;  // [OW]
};

// All channels of a window with KH x KW real taps; `x` is its first tap, strides in elements.
template <typename scalar_t, typename offset_t, int KH, int KW>
void pool_pixel_fixed(const element_t<scalar_t>* x, int64_t row_stride, int64_t channels, element_t<scalar_t>* values,
                      offset_t* offsets) {
  using lane_t = offset_lane_t<scalar_t, offset_t>;
#pragma omp simd
  for (int64_t i = 0; i < channels; ++i) {
    element_t<scalar_t> best = x[i];
    lane_t offset = 0;
#pragma GCC unroll 9
    for (int tap = 1; tap < KH * KW; ++tap) {
      const element_t<scalar_t> value = x[(tap / KW) * row_stride + (tap % KW) * channels + i];
      const bool better = beats<scalar_t>(value, best);
      best = better ? value : best;
      offset = better ? static_cast<lane_t>(tap) : offset;
    }
    values[i] = best;
    offsets[i] = static_cast<offset_t>(offset);
  }
}

// All channels of any window of a channels-last image (H, W, C).
template <typename scalar_t, typename offset_t>
void pool_pixel(const Geometry& g, const element_t<scalar_t>* image, int64_t channels, int64_t oh, int64_t ow,
                element_t<scalar_t>* values, offset_t* offsets) {
  using element = element_t<scalar_t>;
  using lane_t = offset_lane_t<scalar_t, offset_t>;
  const Range<int64_t> rows = g.h.taps(oh);
  const Range<int64_t> columns = g.w.taps(ow);
  const bool windowless = rows.begin >= rows.end || columns.begin >= columns.end;
  if (windowless) {
    std::fill_n(values, channels, Element<scalar_t>::kLowest);
    std::fill_n(offsets, channels, offset_t{0});
    return;
  }
  const int64_t row_stride = g.w.input * channels;
  const bool whole = rows.end - rows.begin == g.h.kernel && columns.end - columns.begin == g.w.kernel;
  if (whole && g.h.kernel == g.w.kernel && g.h.dilation == 1 && g.w.dilation == 1) {
    const element* x = image + g.h.start(oh) * row_stride + g.w.start(ow) * channels;
    if (g.w.kernel == 2) return pool_pixel_fixed<scalar_t, offset_t, 2, 2>(x, row_stride, channels, values, offsets);
    if (g.w.kernel == 3) return pool_pixel_fixed<scalar_t, offset_t, 3, 3>(x, row_stride, channels, values, offsets);
  }
  constexpr int64_t kBlock = 256;  // channels whose state stays in the first-level cache while the taps go by
  element best[kBlock];
  lane_t offset[kBlock];
  for (int64_t first = 0; first < channels; first += kBlock) {
    const int64_t n = std::min(kBlock, channels - first);
    std::fill_n(best, n, Element<scalar_t>::kLowest);
    std::fill_n(offset, n, static_cast<lane_t>(rows.begin * g.w.kernel + columns.begin));
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      for (int64_t c = columns.begin; c < columns.end; ++c) {
        const element* x = image + g.h.position(oh, r) * row_stride + g.w.position(ow, c) * channels + first;
        const lane_t tap = static_cast<lane_t>(r * g.w.kernel + c);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
          const bool better = beats<scalar_t>(x[i], best[i]);
          best[i] = better ? x[i] : best[i];
          offset[i] = better ? tap : offset[i];
        }
      }
    }
    std::copy_n(best, n, values + first);
    for (int64_t i = 0; i < n; ++i) offsets[first + i] = static_cast<offset_t>(offset[i]);
  }
}

// Pools x (N, C, H, W) of the given layout into values and offsets (N, C, OH, OW) of the same layout.
//
// `finish(oh, ow, windows, first, count)` is called when `count` neighbouring outputs from flat position `first` (in
// memory order) are complete: `windows` > 1 for a contiguous row from (oh, ow = 0), 1 for the channels of one window.
template <typename scalar_t, typename offset_t, typename Finish>
void pool(const Geometry& g, const Tensor& x, MemoryFormat layout, const Tensor& values, const Tensor& offsets,
          const Finish& finish) {
  using element = element_t<scalar_t>;
  const int64_t batch = x.size(0);
  const int64_t channels = x.size(1);
  const element* input = elements<scalar_t>(x);
  element* value = mutable_elements<scalar_t>(values);
  offset_t* offset = static_cast<offset_t*>(offsets.mutable_data_ptr());
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
  const int64_t windows = batch * g.h.output * g.w.output;
  parallel_for(0, windows, grain_size(g.taps() * channels), [&](int64_t begin, int64_t end) {
    for (int64_t window = begin; window < end; ++window) {
      const int64_t ow = window % g.w.output;
      const int64_t oh = window / g.w.output % g.h.output;
      const int64_t image = window / (g.w.output * g.h.output);
      const int64_t first = window * channels;
      pool_pixel<scalar_t, offset_t>(g, input + image * map * channels, channels, oh, ow, value + first,
                                     offset + first);
      finish(oh, ow, first, channels);
    }
  });
}

}  // namespace wwae

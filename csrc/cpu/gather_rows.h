// Reading images at the switches of their windows, a row of windows at a time: small windows load all taps in vectors
// and select (lanes = windows of a contiguous row, or channels), others load the one tap they need.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/geometry.h"
#include "cpu/lanes.h"
#include "cpu/planes.h"
#include "cpu/tap_table.h"

namespace wwae {

// Windows up to this size select among vector loads of all their taps: cheaper than one scalar load per output.
constexpr int64_t kSelectTaps = 16;

// Reads rows of windows of images (H, W, channels) of one channel or of many.
template <typename scalar_t, typename offset_t>
class RowGather {
 public:
  using element = element_t<scalar_t>;

  RowGather(const Geometry& g, const Planes& planes, const element* x, element* values)
      : g_(g),
        channels_(planes.channels),
        x_(x),
        map_end_(x + planes.images * planes.pixels * planes.channels),
        values_(values),
        taps_(g, g.w.input * planes.channels, planes.channels),
        whole_(g.w.whole_windows()) {}

  // Elements that a row of windows touches.
  int64_t row_cost() const { return g_.w.output * channels_ * std::min(g_.taps(), kSelectTaps); }

  // Windows of rows `rows` of an image. `offsets`: those of the first row; the next one is `pitch` further.
  void rows(int64_t image, Range<int64_t> rows, const offset_t* offsets, int64_t pitch) const {
    const bool two_apart = channels_ == 1 && g_.w.stride == 2 && g_.w.dilation == 1 && g_.h.kernel == g_.w.kernel;
    if (two_apart && g_.w.kernel == 2) return rows_with(image, rows, offsets, pitch, selecting<2>());
    if (two_apart && g_.w.kernel == 3) return rows_with(image, rows, offsets, pitch, selecting<3>());
    if (channels_ >= 4 && g_.taps() <= kSelectTaps) return rows_with(image, rows, offsets, pitch, selecting_channels());
    rows_with(image, rows, offsets, pitch, reading());
  }

 private:
  // Neighbouring windows of a row with all taps inside the map.
  struct Windows {
    int64_t n;
    const element* corner;  // first tap of the first window
    const offset_t* offsets;
    element* values;
    int64_t behind;  // windows behind these that are read later
  };

  template <typename Read>
  void rows_with(int64_t image, Range<int64_t> rows, const offset_t* offsets, int64_t pitch, const Read& read) const {
    const int64_t row_size = g_.w.output * channels_;
    const element* map = x_ + image * g_.h.input * g_.w.input * channels_;
    element* values = values_ + (image * g_.h.output + rows.begin) * row_size;
    for (int64_t oh = rows.begin; oh < rows.end; ++oh, offsets += pitch, values += row_size) {
      const int64_t top = g_.h.start(oh);
      const bool inside = top >= 0 && top + g_.h.extent() <= g_.h.input;
      const Range<int64_t> whole = inside ? whole_ : Range<int64_t>{g_.w.output, g_.w.output};
      checked_windows(map, top, {0, whole.begin}, offsets, values);
      if (whole.begin < whole.end) {
        const int64_t first = whole.begin * channels_;
        read({whole.end - whole.begin, map + (top * g_.w.input + g_.w.start(whole.begin)) * channels_, offsets + first,
              values + first, (rows.end - oh) * g_.w.output - whole.end});
      }
      checked_windows(map, top, {whole.end, g_.w.output}, offsets, values);
    }
  }

  // A contiguous row of K x K windows, stride 2 across: lanes = windows.
  template <int K>
  auto selecting() const {
    return [=, map_end = map_end_, row_step = g_.h.dilation * g_.w.input](const Windows& windows) {
      using lane_t = offset_lane_t<element, offset_t>;
      constexpr int kWidest = kLanes<element>;
      const auto select = [=](auto width, int64_t i) {
        constexpr int N = width;
        const Vector<lane_t, N> switches = convert<lane_t, offset_t, N>(load<N>(windows.offsets + i));
        Vector<element, N> value{};
        for (int r = 0; r < K; ++r) {
          const element* row = windows.corner + r * row_step + 2 * i;
          value = switches == static_cast<lane_t>(r * K) ? load_even<N>(row) : value;
          for (int c = 1; c < K; ++c) {
            value = switches == static_cast<lane_t>(r * K + c) ? load_odd<N>(row + c - 1) : value;
          }
        }
        store<N>(windows.values + i, value);
      };
      const element* reach = windows.corner + (K - 1) * row_step + 2 * (windows.n + kWidest) + K;
      if constexpr (sizeof(offset_t) == 1) {
        if (windows.behind >= kWidest && reach <= map_end) return for_chunks_and_over<kWidest>(windows.n, select);
      }
      for_offset_chunks<element, offset_t>(windows.n, select);
    };
  }

  // Small windows of many channels: lanes = channels.
  auto selecting_channels() const {
    return [this](const Windows& windows) {
      const int64_t stride = g_.w.stride * channels_;
      for (int64_t i = 0; i < windows.n; ++i) {
        const int64_t first = i * channels_;
        select_channels(windows.corner + i * stride, windows.offsets + first, windows.values + first);
      }
    };
  }

  // Any windows, each reading its one tap.
  auto reading() const {
    return [this](const Windows& windows) {
      const auto [n, corner, offsets, values, behind] = windows;
      const int64_t* steps = taps_.steps();
      const auto taps = static_cast<uint64_t>(taps_.size());
      const auto read = [=](int64_t i, const element* from) {
        const int64_t tap = offsets[i];
        values[i] = static_cast<uint64_t>(tap) < taps ? from[steps[tap]] : element{0};
      };
      const int64_t channels = channels_;
      const int64_t stride = g_.w.stride * channels;
      if (channels == 1) {  // a plain loop, without one over channels in it
        for (int64_t i = 0; i < n; ++i) read(i, corner + i * stride);
      } else {
        for (int64_t i = 0; i < n; ++i) {
          for (int64_t c = 0; c < channels; ++c) read(i * channels + c, corner + i * stride + c);
        }
      }
    };
  }

  // All channels of a small window: lanes = channels.
  void select_channels(const element* corner, const offset_t* offsets, element* values) const {
    using lane_t = offset_lane_t<element, offset_t>;
    for_offset_chunks<element, offset_t>(channels_, [&](auto width, int64_t i) {
      constexpr int N = width;
      const Vector<lane_t, N> switches = convert<lane_t, offset_t, N>(load<N>(offsets + i));
      Vector<element, N> value{};
      for (int64_t r = 0; r < g_.h.kernel; ++r) {
        const element* row = corner + r * g_.h.dilation * g_.w.input * channels_ + i;
        for (int64_t c = 0; c < g_.w.kernel; ++c) {
          const auto tap = static_cast<lane_t>(r * g_.w.kernel + c);
          const element* source = row + c * g_.w.dilation * channels_;
          value = switches == tap ? load<N>(source) : value;
          prefetch_ahead(source);
        }
      }
      store<N>(values + i, value);
    });
  }

  // Windows of a row, starting in row `top` of the map, whose taps may lie outside it.
  void checked_windows(const element* map, int64_t top, Range<int64_t> windows, const offset_t* offsets,
                       element* values) const {
    for (int64_t ow = windows.begin; ow < windows.end; ++ow) {
      const int64_t left = g_.w.start(ow);
      const element* corner = map + (top * g_.w.input + left) * channels_;
      for (int64_t i = ow * channels_; i < (ow + 1) * channels_; ++i) {
        const int64_t tap = offsets[i];
        const bool real =
            taps_.contains(tap) && g_.h.contains(top + taps_[tap].row) && g_.w.contains(left + taps_[tap].column);
        values[i] = real ? corner[i - ow * channels_ + taps_.step(tap)] : element{0};
      }
    }
  }

  Geometry g_;
  int64_t channels_;
  const element* x_;  // (images, H, W, channels)
  const element* map_end_;
  element* values_;  // (images, OH, OW, channels)
  TapTable taps_;
  Range<int64_t> whole_;  // windows of a row whose columns are all real
};

}  // namespace wwae

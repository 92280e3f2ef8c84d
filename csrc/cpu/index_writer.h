// PyTorch's int64 indices of a pooling, made from its offsets.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "common/geometry.h"
#include "common/stable.h"

namespace wwae {

// Turns finished offsets into indices h * W + w. A window without a real tap has PyTorch's index: its first tap, moved
// by the dilation until neither coordinate is negative.
template <typename offset_t>
class IndexWriter {
 public:
  IndexWriter(const Geometry& geometry, MemoryFormat layout, const Tensor& offsets, const Tensor* indices)
      : g_(geometry),
        row_of_windows_(layout == MemoryFormat::Contiguous),
        offsets_(static_cast<const offset_t*>(offsets.const_data_ptr())),
        indices_(indices == nullptr ? nullptr : static_cast<int64_t*>(indices->mutable_data_ptr())) {}

  // The `count` outputs from flat position `first`, in memory order: a row of windows from (oh, 0) of a contiguous
  // plane, or all channels of the window (oh, ow).
  void write(int64_t oh, int64_t ow, int64_t first, int64_t count) const {
    if (indices_ == nullptr) return;
    const int64_t start = g_.h.start(oh) * g_.w.input + g_.w.start(ow);
    if (row_of_windows_) {
      const int64_t step = g_.w.stride;
      for_each_tap(first, count, [=](int64_t i, int64_t distance) { return start + i * step + distance; });
    } else {
      for_each_tap(first, count, [=](int64_t, int64_t distance) { return start + distance; });
    }
    if (!may_be_windowless_) return;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t window = row_of_windows_ ? ow + i : ow;
      if (windowless(g_.h, oh) || windowless(g_.w, window)) {
        indices_[first + i] = first_tap(g_.h, oh) * g_.w.input + first_tap(g_.w, window);
      }
    }
  }

  // All windows of a contiguous plane, of which the first is the output `first`. `corners`: of `corners()`.
  void write_plane(const std::vector<int64_t>& corners, int64_t first) const {
    if (indices_ == nullptr) return;
    if (may_be_windowless_) {
      for (int64_t oh = 0; oh < g_.h.output; ++oh) write(oh, 0, first + oh * g_.w.output, g_.w.output);
      return;
    }
    const int64_t* corner = corners.data();
    for_each_tap(first, g_.h.output * g_.w.output, [=](int64_t i, int64_t distance) { return corner[i] + distance; });
  }

  // Where the windows of a contiguous plane begin, for write_plane.
  std::vector<int64_t> corners() const {
    std::vector<int64_t> corners;
    if (indices_ == nullptr) return corners;
    corners.reserve(g_.h.output * g_.w.output);
    for (int64_t oh = 0; oh < g_.h.output; ++oh) {
      for (int64_t ow = 0; ow < g_.w.output; ++ow) {
        corners.push_back(g_.h.start(oh) * g_.w.input + g_.w.start(ow));
      }
    }
    return corners;
  }

 private:
  // indices[first + i] = index(i, how far the tap of that output is from its window's first one) for `count` outputs.
  template <typename Index>
  void for_each_tap(int64_t first, int64_t count, const Index& index) const {
    constexpr int64_t kSmall = 1 << 14;  // no product below exceeds twice its square
    if (g_.h.extent() <= kSmall && g_.w.extent() <= kSmall && g_.w.input <= kSmall) {
      for_each_tap_by<int32_t>(first, count, index);
    } else {
      for_each_tap_by<int64_t>(first, count, index);
    }
  }

  // `distance_t` holds how far apart taps of a window are.
  template <typename distance_t, typename Index>
  void for_each_tap_by(int64_t first, int64_t count, const Index& index) const {
    const auto kernel = static_cast<int32_t>(g_.w.kernel);
    const int32_t reciprocal = (65536 + kernel - 1) / kernel;
    const auto across = static_cast<distance_t>(g_.w.dilation);  // from a tap to the next of its row
    const auto down =
        static_cast<distance_t>(g_.h.dilation * g_.w.input - kernel * g_.w.dilation);  // from behind a row
    const offset_t* offset = offsets_ + first;
    int64_t* indices = indices_ + first;
    for (int64_t i = 0; i < count; ++i) {
      // Of bytes the quotient by a product, which is exact for all of them and lets the loop run in vectors.
      const int32_t row = sizeof(offset_t) == 1 ? (offset[i] * reciprocal) >> 16 : offset[i] / kernel;
      indices[i] = index(i, offset[i] * across + row * down);
    }
  }

  static bool windowless(const Axis& axis, int64_t window) {
    const Range<int64_t> taps = axis.taps(window);
    return taps.begin >= taps.end;
  }

  static int64_t first_tap(const Axis& axis, int64_t window) {
    const int64_t start = axis.start(window);
    return start < 0 ? start + ceil_divide(-start, axis.dilation) * axis.dilation : start;
  }

  Geometry g_;
  bool row_of_windows_;
  // Only a step from the padding over the whole input misses it.
  bool may_be_windowless_ = g_.h.dilation > 1 || g_.w.dilation > 1;
  const offset_t* offsets_;
  int64_t* indices_;
};

}  // namespace wwae

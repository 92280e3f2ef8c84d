// Whether windows that are given by int64 indices h * W + w, without their geometry, can meet only next to each other,
// and which of them then lose their pixel to a later one.
//
// A pooling puts the index of window (oh, ow) into rows [oh * S, oh * S + R * S) and columns [ow * T, ow * T + R * T)
// of the map, for some S and T near H / OH and W / OW: R is 1 where windows are disjoint, 2 where they are at most two
// strides long. Where all indices of an image lie there, no windows meet, or only the four later ones around a window
// can have its index. Both are comparisons of vectors; no pixel has to be marked.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "cpu/lanes.h"

namespace wwae {

// One object per thread.
class Neighbours {
 public:
  // Indices (height, width, channels) of an image into planes of map_height * map_width.
  Neighbours(int64_t height, int64_t width, int64_t channels, int64_t map_height, int64_t map_width)
      : together_(together(height, width, channels, map_height * map_width)),
        height_(height),
        row_size_(width * channels),
        channels_(channels),
        stride_(std::max<int64_t>(1, map_height / height)),
        step_(std::max<int64_t>(1, map_width / width)),
        map_width_(map_width),
        pixels_(map_height * map_width),
        band_(together_ > 1 ? together_ * height : std::clamp<int64_t>(kBand / row_size_, 1, height)),
        targets_((band_ + 1) * row_size_ + channels),
        corners_(band_ * row_size_),
        widths_(band_ * row_size_) {
    for (int64_t i = 0; i < band_ * row_size_; ++i) {
      const int64_t image = i / (height * row_size_), row = i / row_size_ % height, column = i % row_size_ / channels;
      corners_[i] = static_cast<int32_t>(image * pixels_ + row * stride_ * map_width + column * step_);
    }
    set_reach(1);
  }

  // Whether this way of looking can pay, and its numbers fit.
  static bool fit(int64_t height, int64_t map_height, int64_t map_width) {
    return map_height / height <= kLongestStride && map_height * map_width <= kMostPixels;
  }

  // Images that are taken together: several small ones of one channel, to save the work that each would cost.
  static int64_t together(int64_t height, int64_t width, int64_t channels, int64_t pixels) {
    return channels > 1 ? 1
                        : std::clamp<int64_t>(kBand / (height * width), 1, std::max<int64_t>(1, kMostPixels / pixels));
  }

  // Calls `read(first, n, targets, all_win)` for all windows and channels of at most `together` images in their order,
  // `n` at a time, `targets` being pixels, counted through all images, or -1 for a window that loses its pixel, which
  // none does if `all_win`, a compile-time constant.
  // Stops and returns false when windows may meet that are not neighbours, or when an index is outside the map.
  template <typename Read>
  bool for_each_winner(int64_t images, const int64_t* indices, const Read& read) {
    const int64_t height = images * height_;
    for (int64_t row = 0; row < height; row += band_) {
      const int64_t rows = std::min(band_, height - row);
      const int64_t n = rows * row_size_;
      const int64_t first = row * row_size_;
      const int64_t behind = std::min(n + row_size_, height * row_size_ - first);
      if (!narrow(indices + first, behind)) return false;
      if (reach_ == 1 && !in_reach(n, row)) set_reach(2);
      if (reach_ == 1) {
        read(first, n, targets_.data(), std::true_type{});
        continue;
      }
      if (!in_reach(n, row)) return false;
      std::fill(targets_.begin() + behind, targets_.end(), -1);
      drop_losers(n);
      read(first, n, targets_.data(), std::false_type{});
    }
    return true;
  }

 private:
  // Indices of a band: the arrays of one stay in the first-level cache.
  static constexpr int64_t kBand = 1024;
  static constexpr int64_t kLongestStride = 16;
  static constexpr int64_t kMostPixels = int64_t{1} << 28;

  // What one band shows holds for the next ones, of other images too: they come from one pooling.
  void set_reach(int64_t strides) {
    reach_ = strides;
    for (int64_t i = 0; i < band_ * row_size_; ++i) {
      const int64_t column = i % row_size_ / channels_ * step_;
      widths_[i] = static_cast<uint32_t>(std::clamp<int64_t>(map_width_ - column, 0, reach_ * step_));
    }
  }

  // Whether all indices are inside their maps.
  bool narrow(const int64_t* indices, int64_t n) {
    int64_t sign = 0;
    const int64_t image = together_ > 1 ? height_ * row_size_ : n;
    for (int64_t begin = 0, base = 0; begin < n; begin += image, base += pixels_) {
      for (int64_t i = begin; i < begin + image; ++i) {
        sign |= indices[i] | (pixels_ - 1 - indices[i]);
        targets_[i] = static_cast<int32_t>(base + indices[i]);
      }
    }
    return sign >= 0;
  }

  bool in_reach(int64_t n, int64_t row) const {
    const auto top = static_cast<int32_t>(row * stride_ * map_width_);
    const auto width = static_cast<int32_t>(map_width_);
    const int64_t rows = reach_ * stride_;
    bool all = true;
    for_chunks<kLanes<int32_t>>(n, [&](auto lanes, int64_t i) {
      constexpr int N = lanes;
      const Vector<int32_t, N> target = load<N>(targets_.data() + i);
      const Vector<uint32_t, N> reach = load<N>(widths_.data() + i);
      Vector<int32_t, N> distance = target - top - load<N>(corners_.data() + i);
      Vector<int32_t, N> found{};
      for (int64_t r = 0; r < rows; ++r, distance -= width) {
        found |= Vector<int32_t, N>((Vector<uint32_t, N>)(distance) < reach);
      }
      all &= every<N>(found);
    });
    return all;
  }

  // Whether no lane is 0.
  template <int N>
  static bool every(Vector<int32_t, N> lanes) {
    if constexpr (N == 1) {
      return lanes != 0;
    } else {
      int32_t result = -1;
      for (int i = 0; i < N; ++i) result &= lanes[i];
      return result != 0;
    }
  }

  // A lane that is met twice, as the last vectors are, keeps what it has become.
  void drop_losers(int64_t n) {
    // The second one is the window below to the left, which windows in a single column do not have.
    const int64_t distances[] = {channels_, std::max(row_size_ - channels_, channels_), row_size_,
                                 row_size_ + channels_};
    for_chunks<kLanes<int32_t>>(n, [&](auto lanes, int64_t i) {
      constexpr int N = lanes;
      int32_t* window = targets_.data() + i;
      Vector<int32_t, N> target = load<N>(window);
      const Vector<int32_t, N> own = target;
      for (const int64_t distance : distances) {
        target = own == load<N>(window + distance) ? broadcast<N>(int32_t{-1}) : target;
      }
      store<N>(window, target);
    });
  }

  int64_t together_;
  int64_t height_;
  int64_t row_size_;
  int64_t channels_;
  int64_t stride_;  // S
  int64_t step_;  // T
  int64_t reach_;  // R
  int64_t map_width_;
  int64_t pixels_;
  int64_t band_;
  std::vector<int32_t> targets_;  // of a band, the row behind it, and a margin
  std::vector<int32_t> corners_;  // of the reach of every window of a band
  std::vector<uint32_t> widths_;  // of that reach, inside the map
};

}  // namespace wwae

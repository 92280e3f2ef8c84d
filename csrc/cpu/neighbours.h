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
#include <vector>

#include "cpu/keep.h"
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
        keeps_(band_ * row_size_) {
    corners_.reserve(band_ * row_size_);
    widths_.reserve(band_ * row_size_);
    for (int64_t band_row = 0; band_row < band_; ++band_row) {
      const int64_t image = band_row / height, row = band_row % height;
      for (int64_t column = 0; column < width; ++column) {
        const int64_t corner = image * pixels_ + row * stride_ * map_width + column * step_;
        corners_.insert(corners_.end(), channels, static_cast<int32_t>(corner));
        widths_.insert(widths_.end(), channels,
                       static_cast<uint32_t>(std::max<int64_t>(0, map_width - column * step_)));
      }
    }
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

  // For all windows and channels of at most `together` images in their order, `n` at a time: calls `read(first, n,
  // targets)` with the pixels, counted through all images, that they point at, and where some windows of an image may
  // lose theirs, `drop(first, n, keeps)` with 0 for those that do and -1 for the others.
  // Stops and returns false when windows may meet that are not neighbours, or when an index is outside the map.
  template <typename Read, typename Drop>
  bool for_each_winner(int64_t images, const int64_t* indices, const Read& read, const Drop& drop) {
    const int64_t height = images * height_;
    int64_t known = 0;  // targets that the last band has left
    for (int64_t row = 0; row < height; row += band_) {
      const int64_t n = std::min(band_, height - row) * row_size_;
      const int64_t first = row * row_size_;
      const int64_t behind = std::min(n + row_size_, height * row_size_ - first);
      if (!narrow(indices + first, known, behind)) return false;
      if (reach_ == 1 && !in_reach(n, row)) reach_ = 2;
      if (reach_ == 2 && !in_reach(n, row)) return false;
      read(first, n, targets_.data());
      if (reach_ == 2) {
        std::fill(targets_.begin() + behind, targets_.end(), -1);
        find_losers(n);
        drop(first, n, keeps_.data());
      }
      known = behind - n;
      std::copy_n(targets_.begin() + n, known, targets_.begin());
    }
    return true;
  }

 private:
  // Indices of a band: the arrays of one stay in the first-level cache.
  static constexpr int64_t kBand = 1024;
  static constexpr int64_t kLongestStride = 16;
  static constexpr int64_t kMostPixels = int64_t{1} << 28;

  // Whether all indices [begin, end) are inside their maps.
  bool narrow(const int64_t* indices, int64_t begin, int64_t end) {
    int64_t sign = 0;
    const int64_t image = together_ > 1 ? height_ * row_size_ : end;
    for (int64_t base = 0; begin < end; base += pixels_) {
      for (const int64_t last = std::min(begin + image, end); begin < last; ++begin) {
        sign |= indices[begin] | (pixels_ - 1 - indices[begin]);
        targets_[begin] = static_cast<int32_t>(base + indices[begin]);
      }
    }
    return sign >= 0;
  }

  bool in_reach(int64_t n, int64_t row) const {
    const auto top = static_cast<int32_t>(row * stride_ * map_width_);
    const auto width = static_cast<int32_t>(map_width_);
    const int64_t rows = reach_ * stride_;
    const auto columns = static_cast<uint32_t>(reach_ * step_);
    return every_lane_of_chunks(n, [&](auto lanes, int64_t i) {
      constexpr int N = lanes;
      const Vector<int32_t, N> target = load<N>(targets_.data() + i);
      const Vector<uint32_t, N> inside = load<N>(widths_.data() + i);
      const Vector<uint32_t, N> reach = inside < columns ? inside : broadcast<N>(columns);
      Vector<int32_t, N> distance = target - top - load<N>(corners_.data() + i);
      Vector<int32_t, N> found{};
      for (int64_t r = 0; r < rows; ++r, distance -= width) {
        found |= Vector<int32_t, N>((Vector<uint32_t, N>)(distance) < reach);
      }
      return found;
    });
  }

  void find_losers(int64_t n) {
    // The second one is the window below to the left, which windows in a single column do not have.
    const int64_t distances[] = {channels_, std::max(row_size_ - channels_, channels_), row_size_,
                                 row_size_ + channels_};
    for_chunks<kLanes<int32_t>>(n, [&](auto lanes, int64_t i) {
      constexpr int N = lanes;
      const int32_t* window = targets_.data() + i;
      const Vector<int32_t, N> own = load<N>(window);
      Vector<int32_t, N> keep = broadcast<N>(int32_t{-1});
      for (const int64_t distance : distances) {
        keep = own == load<N>(window + distance) ? broadcast<N>(int32_t{0}) : keep;
      }
      store<N>(keeps_.data() + i, keep);
    });
  }

  int64_t together_;
  int64_t height_;
  int64_t row_size_;
  int64_t channels_;
  int64_t stride_;  // S
  int64_t step_;  // T
  // R: what one band shows holds for the next ones, of other images too, as they come from one pooling.
  int64_t reach_ = 1;
  int64_t map_width_;
  int64_t pixels_;
  int64_t band_;
  std::vector<int32_t> targets_;  // of a band, the row behind it, and a margin
  std::vector<int32_t> corners_;  // of the reach of every window of a band
  std::vector<uint32_t> widths_;  // of the map from there on
  std::vector<int32_t> keeps_;  // of a band: 0 for a window that loses its pixel, else -1
};

}  // namespace wwae

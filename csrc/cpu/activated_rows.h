// Rows of channels-last images after an activation (activation.h), for 16-bit elements, whose widening and rounding
// cost more than pooling does: each is computed once, although overlapping windows meet it again and again, and a loop
// over pixels keeps the parameters of its channels in registers. Some rows stay in the first caches; one object per
// thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/geometry.h"
#include "cpu/lanes.h"

namespace wwae {

template <typename scalar_t, typename Activation>
class ActivatedRows {
 public:
  using element = element_t<scalar_t>;

  // `x`: (images, H, W, channels); it outlives the object, and so does `activation`.
  ActivatedRows(const Geometry& g, const Activation& activation, const element* x, int64_t channels)
      : activation_(activation),
        x_(x),
        height_(g.h.input),
        width_(g.w.input),
        channels_(channels),
        capacity_(std::min(height_, std::max<int64_t>(g.h.extent(), kBytes / (row_size() * sizeof(element))))),
        buffer_(capacity_ * row_size()) {}

  // The rows of an image, of which windows of one height need no more than their extent. They stay until the next call.
  const element* get(int64_t image, Range<int64_t> rows) {
    if (image != image_ || rows.begin < kept_.begin || rows.begin > kept_.end) {
      image_ = image;
      kept_ = {rows.begin, rows.begin};
    }
    if (rows.end - kept_.begin > capacity_) {
      std::copy(at(rows.begin), at(kept_.end), buffer_.data());
      kept_.begin = rows.begin;
    }
    for (; kept_.end < rows.end; ++kept_.end) activate(x_ + (image * height_ + kept_.end) * row_size(), at(kept_.end));
    return at(rows.begin);
  }

 private:
  static constexpr int64_t kBytes = 128 * 1024;

  int64_t row_size() const { return width_ * channels_; }
  element* at(int64_t row) { return buffer_.data() + (row - kept_.begin) * row_size(); }

  // All pixels of some channels before the next channels.
  void activate(const element* from, element* to) const {
    for_chunks<kLanes<element>>(channels_, [&](auto width, int64_t c) {
      constexpr int N = width;
      const auto function = activation_.template channels<N>(c);
      for (int64_t i = c; i < row_size(); i += channels_) store<N>(to + i, function(load<N>(from + i)));
    });
  }

  const Activation& activation_;
  const element* x_;
  int64_t height_;
  int64_t width_;
  int64_t channels_;
  int64_t capacity_;  // in rows: no more than the map has, of which a window may need all
  std::vector<element> buffer_;
  int64_t image_ = -1;
  Range<int64_t> kept_ = {0, 0};
};

}  // namespace wwae

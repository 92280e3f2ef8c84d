// Reading a map where windows point, when a pixel belongs to the last window in raster order that points at it: the
// transpose of unpooling that keeps the last value.
//
// The windows are met in reverse, so the first one to mark a pixel is its owner, and one pass suffices. A mark is the
// number of the plane that is being read, so marks need no clearing between planes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/geometry.h"
#include "cpu/keep.h"

namespace wwae {

// Marks of the pixels of some neighbouring channels of an image. One object per thread.
class Marks {
 public:
  // Marks that a thread looks at in one pass, if one cache line of channels allows it.
  static constexpr int64_t kMarks = 128 * 1024;
  static constexpr int64_t kLine = 32;

  Marks(int64_t pixels, int64_t channels)
      : width_(std::min(std::max(kLine, kMarks / std::max<int64_t>(1, pixels) / kLine * kLine), channels)),
        marks_(pixels * width_) {}

  // Channels that are marked together.
  int64_t width() const { return width_; }

  // Marks (pixels, width()) of which none equals the number that is returned with them.
  std::pair<uint16_t*, uint16_t> fresh() {
    if (++plane_ == 0) {
      std::fill(marks_.begin(), marks_.end(), uint16_t{0});
      plane_ = 1;
    }
    return {marks_.data(), plane_};
  }

 private:
  int64_t width_;
  // Not bytes: the compiler would have to expect a store of one to change any variable.
  std::vector<uint16_t> marks_;
  uint16_t plane_ = 0;
};

// Windows [0, windows) of channels [channels.begin, channels.end) of an image of `stride` channels, as many at a time
// as there are marks for. `pixel(window, c)`: where a window points, or -1. Both tensors are (…, stride). Returns
// whether no window pointed at -1.
template <typename element, typename Pixel>
bool gather_last(Marks& marks, int64_t windows, Range<int64_t> channels, int64_t stride, const element* map,
                 element* values, const Pixel pixel) {
  int64_t lowest = 0;
  for (int64_t first = channels.begin; first < channels.end; first += marks.width()) {
    const int64_t width = marks.width();
    const int64_t last = std::min(first + width, channels.end);
    const auto [mark, number] = marks.fresh();
    const auto read = [=, mark = mark, number = number](int64_t window, int64_t c) {
      const int64_t at = pixel(window, c);
      const int64_t place = at < 0 ? 0 : at;
      uint16_t& owner = mark[place * width + c - first];
      const bool owns = at >= 0 && owner != number;
      if (at >= 0) owner = number;
      values[window * stride + c] = kept(map[place * stride + c], -static_cast<int32_t>(owns));
      return at;
    };
    if (stride == 1) {  // a plain loop, without one over channels in it
      for (int64_t window = windows - 1; window >= 0; --window) lowest = std::min(lowest, read(window, 0));
    } else {
      for (int64_t window = windows - 1; window >= 0; --window) {
        for (int64_t c = first; c < last; ++c) lowest = std::min(lowest, read(window, c));
      }
    }
  }
  return lowest == 0;
}

}  // namespace wwae

// Planes (H, W) addressed by PyTorch's int64 indices h * W + w: what max_unpool2d and max_gather2d share.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>

#include "common/checks.h"
#include "common/geometry.h"
#include "common/stable.h"
#include "cpu/tasks.h"

namespace wwae {

// A stack of planes as images of neighbouring channels: a contiguous tensor is N * C images of one channel, a
// channels-last one N images of C channels. Element (pixel, channel) of an image stands at pixel * channels + channel.
struct Planes {
  int64_t images;
  int64_t channels;
  int64_t windows;  // OH * OW
  int64_t pixels;  // H * W

  Planes(const Tensor& pooled, int64_t pixels, MemoryFormat layout)
      : images(layout == MemoryFormat::Contiguous ? pooled.size(0) * pooled.size(1) : pooled.size(0)),
        channels(layout == MemoryFormat::Contiguous ? 1 : pooled.size(1)),
        windows(pooled.size(2) * pooled.size(3)),
        pixels(pixels) {}

  // Smallest index and one past the largest of some windows; `indices`: (images, windows, channels).
  Range<int64_t> reach(const int64_t* indices, int64_t image, Range<int64_t> some_channels,
                       Range<int64_t> some_windows) const {
    Range<int64_t> found = {pixels, 0};
    const int64_t* first = indices + image * windows * channels;
    if (some_channels.end - some_channels.begin == channels) {  // one run in memory
      extend(found, first + some_windows.begin * channels, (some_windows.end - some_windows.begin) * channels);
      return found;
    }
    for (int64_t window = some_windows.begin; window < some_windows.end; ++window) {
      extend(found, first + window * channels + some_channels.begin, some_channels.end - some_channels.begin);
    }
    return found;
  }

  static void extend(Range<int64_t>& range, const int64_t* indices, int64_t n) {
    int64_t smallest = range.begin;
    int64_t largest = range.end - 1;
    for (int64_t i = 0; i < n; ++i) {
      smallest = std::min(smallest, indices[i]);
      largest = std::max(largest, indices[i]);
    }
    range = {smallest, largest < std::numeric_limits<int64_t>::max() ? largest + 1 : largest};
  }

  // Calls `body(scratch, image, range of channels)` on PyTorch's threads, with a `scratch()` per task; the ranges of an
  // image are as few as keep all threads busy, and at least `kChannels` wide, so that threads do not share cache lines.
  template <typename Scratch, typename Body>
  void for_each(const Scratch& scratch, const Body& body) const {
    constexpr int64_t kChannels = 32;  // 64 bytes of the narrowest dtype
    const int64_t wanted = ceil_divide(num_threads(), images);
    const int64_t width = ceil_divide(ceil_divide(channels, wanted), kChannels) * kChannels;
    const int64_t parts = ceil_divide(channels, width);
    const int64_t grain = grain_size(pixels * std::min(width, channels));
    parallel_for(0, images * parts, grain, [&](int64_t begin, int64_t end) {
      auto own = scratch();
      for (int64_t item = begin; item < end; ++item) {
        const int64_t first = item % parts * width;
        body(own, item / parts, Range<int64_t>{first, std::min(first + width, channels)});
      }
    });
  }
};

// Keeps the first index outside its plane, in the order (image, channel, window), whatever thread meets it.
class BadIndex {
 public:
  explicit BadIndex(const Planes& planes) : planes_(planes) {}

  // Looks through windows of which one has an index outside. `indices`: (images, windows, channels).
  void note(const int64_t* indices, int64_t image, Range<int64_t> channels, Range<int64_t> windows) {
    for (int64_t window = windows.begin; window < windows.end; ++window) {
      for (int64_t channel = channels.begin; channel < channels.end; ++channel) {
        const int64_t index = indices[(image * planes_.windows + window) * planes_.channels + channel];
        if (index < 0 || index >= planes_.pixels) keep((image * planes_.channels + channel) * planes_.windows + window);
      }
    }
  }

  // Raises for it. `indices`: (images, windows, channels).
  void raise(const char* op, const int64_t* indices, int64_t height, int64_t width) const {
    if (first_ == kNone) return;
    const int64_t window = first_ % planes_.windows;
    const int64_t channel = first_ / planes_.windows % planes_.channels;
    const int64_t image = first_ / planes_.windows / planes_.channels;
    const int64_t index = indices[(image * planes_.windows + window) * planes_.channels + channel];
    fail(op, ": found an invalid max index ", index, " (output volumes are of size ", height, "x", width, ")");
  }

 private:
  static constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

  void keep(int64_t position) {
    int64_t first = first_.load();
    while (position < first && !first_.compare_exchange_weak(first, position)) {
    }
  }

  const Planes& planes_;
  std::atomic<int64_t> first_{kNone};
};

}  // namespace wwae

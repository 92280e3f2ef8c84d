// Taps of neighbouring windows in the lanes of a vector. In a contiguous plane the windows of a row are the lanes, and
// a tap of theirs lies every `stride` elements; in channels-last memory the channels are, side by side.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "common/geometry.h"
#include "cpu/accumulate.h"
#include "cpu/lanes.h"
#include "cpu/tasks.h"

namespace wwae {

// A stack of images of neighbouring channels: a contiguous tensor is N * C images of one channel, a channels-last one N
// images of C channels.
struct Images {
  int64_t count;
  int64_t channels;

  Images(const Tensor& x, MemoryFormat layout)
      : count(layout == MemoryFormat::Contiguous ? x.size(0) * x.size(1) : x.size(0)),
        channels(layout == MemoryFormat::Contiguous ? 1 : x.size(1)) {}
};

// Runs `body(width, i)` over chunks that cover [begin, n) and never meet: for bodies that add.
template <int widest, typename Body>
void for_separate_chunks(int64_t n, const Body& body, int64_t begin = 0) {
  int64_t i = begin;
  for (; i + widest <= n; i += widest) body(std::integral_constant<int, widest>{}, i);
  if constexpr (widest > 1) {
    if (i < n) for_separate_chunks<(widest > 4 ? widest / 2 : 1)>(n, body, i);
  }
}

// Tap column `c` of `columns` of N windows; `source` is that of the first.
template <int N, typename T>
Vector<T, N> load_tap(const T* source, int64_t stride, int64_t c, int64_t columns) {
  if constexpr (N > 1) {
    if (stride == 1) return load<N>(source);
    // Neither reads past the taps of the last window.
    if (stride == 2 && c > 0) return load_odd<N>(source - 1);
    if (stride == 2 && columns > 1) return load_even<N>(source);
  }
  return load_strided<N>(source, stride);
}

// A map that windows write to, `channels` of every pixel beginning with `first_channel`. `kAdd`: it holds sums.
template <typename scalar_t, bool add>
struct Target {
  static constexpr bool kAdd = add;
  using sum_t = accumulate_t<scalar_t>;
  using value_t = std::conditional_t<add, sum_t, element_t<scalar_t>>;

  value_t* map;
  int64_t width;
  int64_t channels;
  int64_t first_channel;

  value_t* at(int64_t h, int64_t w, int64_t channel) const {
    return map + (h * width + w) * channels + channel - first_channel;
  }

  template <int N>
  static void put(value_t* place, int64_t stride, Vector<sum_t, N> value) {
    if constexpr (N == 1) {
      if constexpr (add) {
        *place += value;
      } else {
        *place = narrow<scalar_t>(value);
      }
    } else if constexpr (add) {
      if (stride == 1) return store<N>(place, load<N>(place) + value);
      for (int i = 0; i < N; ++i) place[i * stride] += value[i];
    } else {
      const auto narrowed = narrow<scalar_t, N>(value);
      if (stride == 1) return store<N>(place, narrowed);
      for (int i = 0; i < N; ++i) place[i * stride] = narrowed[i];
    }
  }

  // Tap columns [begin, end) of one row of N windows, `step` elements apart; `value(c)` gives those of column c. All
  // columns of 2x2 windows side by side are written in one piece.
  template <int N, typename Value>
  static void put_row(value_t* place, const Axis& axis, Range<int64_t> columns, int64_t stride, int64_t step,
                      const Value& value) {
    if constexpr (N > 1 && !add) {
      if (stride == 2 && step == 1 && axis.kernel == 2) {
        const auto even = narrow<scalar_t, N>(value(0));
        return store_interleaved<N>(place, even, narrow<scalar_t, N>(value(1)));
      }
    }
    for (int64_t c = columns.begin; c < columns.end; ++c) put<N>(place + c * step, stride, value(c));
  }
};

// Every pixel lies in exactly one window.
inline bool tiled(const Geometry& g) {
  const auto tiles = [](const Axis& axis) {
    return axis.stride == axis.kernel && axis.padding == 0 && axis.input == axis.output * axis.kernel;
  };
  return tiles(g.h) && tiles(g.w);
}

// Runs `row(target, image, oh, channels)` for every row of windows and writes what it puts to `map`, 0 where it puts
// nothing. Windows that never meet are written straight away, row by row. Others are added up image by image, or some
// channels of one at a time, in the order of their rows, and rounded once.
template <typename scalar_t, typename Row>
void write_windows(const Geometry& g, const Images& images, element_t<scalar_t>* map, const Row& row) {
  using element = element_t<scalar_t>;
  using sum_t = accumulate_t<scalar_t>;
  const int64_t pixels = g.h.input * g.w.input;
  const int64_t work = g.taps() * g.w.output * images.channels;  // of one row of windows
  if (g.disjoint()) {
    if (!tiled(g)) {
      parallel_for(0, images.count * g.h.input, grain_size(g.w.input * images.channels),
                   [&](int64_t begin, int64_t end) {
                     const int64_t line = g.w.input * images.channels;
                     std::fill(map + begin * line, map + end * line, element{0});
                   });
    }
    parallel_for(0, images.count * g.h.output, grain_size(work), [&](int64_t begin, int64_t end) {
      for_each_item(begin, end, g.h.output, [&](int64_t image, int64_t oh) {
        const Target<scalar_t, false> target = {map + image * pixels * images.channels, g.w.input, images.channels, 0};
        row(target, image, oh, Range<int64_t>{0, images.channels});
      });
    });
    return;
  }
  constexpr int64_t kChannels = 32;  // 64 bytes of the narrowest dtype: threads do not share cache lines
  const int64_t wanted = ceil_divide(ceil_divide(images.channels, ceil_divide(num_threads(), images.count)), kChannels);
  const int64_t width = std::min(wanted * kChannels, images.channels);
  const int64_t parts = ceil_divide(images.channels, width);
  parallel_for(0, images.count * parts, grain_size(work * g.h.output), [&](int64_t begin, int64_t end) {
    std::vector<sum_t> sums(pixels * width);
    for_each_item(begin, end, parts, [&](int64_t image, int64_t part) {
      const Range<int64_t> channels = {part * width, std::min((part + 1) * width, images.channels)};
      const int64_t held = channels.end - channels.begin;
      std::fill(sums.begin(), sums.end(), sum_t{0});
      const Target<scalar_t, true> target = {sums.data(), g.w.input, held, channels.begin};
      for (int64_t oh = 0; oh < g.h.output; ++oh) row(target, image, oh, channels);
      for (int64_t pixel = 0; pixel < (held == images.channels ? 1 : pixels); ++pixel) {
        element* out = map + (image * pixels + pixel) * images.channels + channels.begin;
        const int64_t length = held == images.channels ? pixels * held : held;
        narrow_all<scalar_t>(sums.data() + pixel * held, length, out);
      }
    });
  });
}

// Chunks [i, i + width) of neighbouring lanes: `kApart` for bodies that add, else some lanes may be met twice.
template <int widest, bool kApart, typename Body>
void for_lanes(Range<int64_t> lanes, const Body& body) {
  if constexpr (kApart) {
    for_separate_chunks<widest>(lanes.end, body, lanes.begin);
  } else {
    for_chunks<widest>(lanes.end - lanes.begin, [&](auto width, int64_t i) { body(width, lanes.begin + i); });
  }
}

// Runs `body(width, ow, columns, channel)` over the windows of a row: lanes are channels from `channel` on, or, where
// an image has one channel, windows from `ow` on. `columns` are the real ones of these windows. `kApart`: no window is
// met twice.
template <typename sum_t, bool kApart, typename Body>
void for_windows_of_row(const Geometry& g, int64_t channels_of_image, Range<int64_t> channels, const Body& body) {
  if (channels_of_image > 1) {
    for (int64_t ow = 0; ow < g.w.output; ++ow) {
      for_lanes<kLanes<sum_t>, kApart>(channels,
                                       [&](auto width, int64_t channel) { body(width, ow, g.w.taps(ow), channel); });
    }
    return;
  }
  const Range<int64_t> whole = g.w.whole_windows();
  const auto one = [&](int64_t ow) { body(std::integral_constant<int, 1>{}, ow, g.w.taps(ow), int64_t{0}); };
  for (int64_t ow = 0; ow < std::min(whole.begin, g.w.output); ++ow) one(ow);
  for_lanes<kLanes<sum_t>, kApart>(
      whole, [&](auto width, int64_t ow) { body(width, ow, Range<int64_t>{0, g.w.kernel}, int64_t{0}); });
  for (int64_t ow = std::max(whole.begin, whole.end); ow < g.w.output; ++ow) one(ow);
}

}  // namespace wwae

// Small contiguous planes: the windows of several planes as one run, so that no work is done for a row or a
// plane. Vectors find the pixels that the switches name, from a table of where each window starts; then one is read or
// written after the other, without a look at whether its switch names a tap where all of a run do, and values that were
// read for a switch that names none are taken away. Only for planes whose windows have all taps inside the map.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "common/geometry.h"
#include "cpu/accumulate.h"
#include "cpu/keep.h"
#include "cpu/lanes.h"
#include "cpu/rivals.h"

namespace wwae {

class SmallPlanes {
 public:
  explicit SmallPlanes(const Geometry& g)
      : g_(g),
        together_(std::max<int64_t>(1, kWindows / windows())),
        inverse_(static_cast<int32_t>(65536 / g.w.kernel + 1)),
        across_(static_cast<int32_t>(g.w.dilation)),
        down_(static_cast<int32_t>(g.h.dilation * g.w.input - g.w.kernel * g.w.dilation)) {
    corners_.reserve(together_ * windows());
    for (int64_t plane = 0; plane < together_; ++plane) {
      for (int64_t oh = 0; oh < g.h.output; ++oh) {
        for (int64_t ow = 0; ow < g.w.output; ++ow) {
          corners_.push_back(static_cast<int32_t>(plane * pixels() + g.h.start(oh) * g.w.input + g.w.start(ow)));
        }
      }
    }
  }

  // Whether planes are of this kind, and this beats vectors along their rows.
  static bool fit(const Geometry& g) {
    const auto whole = [](const Axis& axis) {
      const Range<int64_t> windows = axis.whole_windows();
      return windows.begin == 0 && windows.end == axis.output;
    };
    const bool fills_vectors = g.w.kernel == 2 && g.w.stride == 2 && g.w.output > kShortRow;
    return !fills_vectors && g.h.input * g.w.input <= kPixels && g.taps() < Rivals::kNone && whole(g.h) && whole(g.w);
  }

  const Geometry& geometry() const { return g_; }
  int64_t pixels() const { return g_.h.input * g_.w.input; }
  int64_t windows() const { return g_.h.output * g_.w.output; }
  int64_t together() const { return together_; }

  // Every window of `n` planes reads the map at its switch; 0 where that is no tap.
  template <typename element>
  void gather(int64_t n, const element* map, const uint8_t* offsets, element* values) const {
    for_each_run(n, offsets, [=](int64_t first, int64_t size, const int32_t* targets, const int32_t* keeps, bool all) {
#pragma GCC unroll 8
      for (int64_t i = 0; i < size; ++i) values[first + i] = map[targets[i]];
      if (!all) drop(values + first, keeps, size);
    });
  }

  // Every window of `n` planes writes its value at its switch; of several at one pixel the last one stays.
  template <typename element>
  void scatter(int64_t n, const element* x, const uint8_t* offsets, element* map) const {
    std::fill_n(map, n * pixels(), element{0});
    for_each_target(n, offsets, [=](int64_t i, int32_t target) { map[target] = x[i]; });
  }

  // How many float32 numbers `add` needs: 16-bit values are not added where they stand.
  template <typename scalar_t>
  int64_t sums() const {
    return kSumsAreElements<scalar_t> ? 0 : together() * pixels();
  }

  // Every window of `n` planes adds its value at its switch. `sums`: scratch.
  template <typename scalar_t>
  void add(int64_t n, const element_t<scalar_t>* x, const uint8_t* offsets, accumulate_t<scalar_t>* sums,
           element_t<scalar_t>* map) const {
    if constexpr (kSumsAreElements<scalar_t>) sums = map;
    add<scalar_t>(n, x, offsets, sums);
    if constexpr (!kSumsAreElements<scalar_t>) narrow_all<scalar_t>(sums, n * pixels(), map);
  }

  // The sums of `n` planes themselves.
  template <typename scalar_t>
  void add(int64_t n, const element_t<scalar_t>* x, const uint8_t* offsets, accumulate_t<scalar_t>* sums) const {
    std::fill_n(sums, n * pixels(), accumulate_t<scalar_t>{0});
    for_each_target(n, offsets, [=](int64_t i, int32_t target) { sums[target] += widen<scalar_t>(x[i]); });
  }

 private:
  static constexpr int64_t kShortRow = 13;  // longer ones of 2x2/2 windows are as fast or faster in vectors
  static constexpr int64_t kPixels = 4096;  // in the first-level cache, beside the tables
  static constexpr int64_t kWindows = 512;

  // Calls `body(window, pixel)` for the windows of `n` planes in their order, without those whose switch names no tap.
  template <typename Body>
  void for_each_target(int64_t n, const uint8_t* offsets, const Body& body) const {
    for_each_run(n, offsets, [=](int64_t first, int64_t size, const int32_t* targets, const int32_t* keeps, bool all) {
      if (all) {
#pragma GCC unroll 8
        for (int64_t i = 0; i < size; ++i) body(first + i, targets[i]);
        return;
      }
      for (int64_t i = 0; i < size; ++i) {
        if (keeps[i]) body(first + i, targets[i]);
      }
    });
  }

  // Calls `body(first, size, targets, keeps, all)` for runs of windows that make up `n` planes: the pixels of their
  // switches, or the first one of a window whose switch names no tap, and keeps[i] = 0 there, -1 elsewhere. `all`:
  // there is none.
  template <typename Body>
  void for_each_run(int64_t n, const uint8_t* offsets, const Body& body) const {
    int32_t targets[kWindows];
    int32_t keeps[kWindows];
    const auto taps = static_cast<int32_t>(g_.taps());
    for (int64_t begin = 0; begin < n * windows(); begin += kWindows) {
      const int64_t size = std::min(kWindows, n * windows() - begin);
      const int32_t* corners = corners_.data() + begin;
      const bool all = every_lane_of_chunks(size, [&](auto width, int64_t i) {
        constexpr int N = width;
        Vector<int32_t, N> offset = convert<int32_t, uint8_t, N>(load<N>(offsets + begin + i));
        const Vector<int32_t, N> keep = offset < taps ? broadcast<N>(int32_t{-1}) : broadcast<N>(int32_t{0});
        offset &= keep;
        const Vector<int32_t, N> row = offset * inverse_ >> 16;  // offset / kernel
        store<N>(targets + i, load<N>(corners + i) + offset * across_ + row * down_);
        store<N>(keeps + i, keep);
        return keep;
      });
      body(begin, size, targets, keeps, all);
    }
  }

  Geometry g_;
  int64_t together_;
  int32_t inverse_;  // of the kernel's width
  int32_t across_;  // from a tap to the next of its row
  int32_t down_;  // from behind the last tap of a row to the first one of the next
  std::vector<int32_t> corners_;  // pixel of the first tap of each window of a group
};

// The switches of a group without those of the windows that lose their pixel. One object per thread.
class SmallWinners {
 public:
  SmallWinners(const Rivals& rivals, const SmallPlanes& small)
      : windows_(small.windows()),
        padded_(ceil_divide<int64_t>(small.together() * windows_, kVectorBytes) * kVectorBytes),
        kept_(padded_) {
    const Axis &h = small.geometry().h, &w = small.geometry().w;
    copy_.resize(padded_ + rivals.rows() * w.output + rivals.columns(), Rivals::kNone);
    for (const Rival& rival : rivals) {
      Pair& pair = pairs_.emplace_back(rival.other, rival.down * w.output + rival.across);
      pair.taps.resize(padded_, kNever);
      const Range<int64_t> columns = {std::max<int64_t>(0, -rival.across), std::min(w.output, w.output - rival.across)};
      for (int64_t oh = 0; oh < h.output - rival.down; ++oh) {
        const auto row = pair.taps.begin() + oh * w.output;
        std::fill(row + columns.begin, row + std::max(columns.begin, columns.end), rival.tap);
      }
      for (int64_t plane = 1; plane < small.together(); ++plane) {
        std::copy_n(pair.taps.begin(), windows_, pair.taps.begin() + plane * windows_);
      }
    }
  }

  // `offsets`: of `n` planes.
  const uint8_t* find(int64_t n, const uint8_t* offsets) {
    std::memcpy(copy_.data(), offsets, n * windows_);
    for (int64_t i = 0; i < n * windows_; i += kVectorBytes) {
      constexpr int N = kVectorBytes;
      const Vector<uint8_t, N> offset = load<N>(copy_.data() + i);
      Vector<uint8_t, N> kept = offset;
      for (const Pair& pair : pairs_) {
        const Vector<uint8_t, N> other = load<N>(copy_.data() + i + pair.distance);
        kept = (offset == load<N>(pair.taps.data() + i)) & (other == pair.other) ? broadcast<N>(Rivals::kNone) : kept;
      }
      store<N>(kept_.data() + i, kept);
    }
    return kept_.data();
  }

 private:
  // No window of fewer than Rivals::kNone taps has this offset.
  static constexpr uint8_t kNever = Rivals::kNone - 1;

  struct Pair {
    uint8_t other;
    int64_t distance;  // to the later window
    std::vector<uint8_t> taps;  // of each window; kNever where the other one is beyond the border
  };

  int64_t windows_;
  int64_t padded_;
  std::vector<Pair> pairs_;
  std::vector<uint8_t> copy_;  // with what the last vectors read behind the group
  std::vector<uint8_t> kept_;
};

}  // namespace wwae

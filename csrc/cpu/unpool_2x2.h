// Unpooling 2x2/2 windows to contiguous planes: lanes = windows of a row; every output element is chosen between a
// value and 0 and stored once.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/geometry.h"
#include "cpu/lanes.h"
#include "cpu/tasks.h"

namespace wwae {

inline bool is_2x2(const Geometry& g) {
  const auto is_2 = [](const Axis& axis) {
    return axis.kernel == 2 && axis.stride == 2 && axis.dilation == 1 && axis.padding <= 1;
  };
  return is_2(g.h) && is_2(g.w);
}

// Rows `rows` of the rows of all planes, one after another. `g` is a copy: the compiler then knows that no store
// changes it, and keeps it in registers.
template <typename scalar_t>
void unpool_2x2_rows(const Geometry g, int64_t planes, Range<int64_t> rows, const element_t<scalar_t>* x,
                     const uint8_t* offsets, element_t<scalar_t>* map) {
  using element = element_t<scalar_t>;
  using lane_t = signed_t<element>;
  constexpr int kWidest = kLanes<element>;
  const Range<int64_t> whole = g.w.whole_windows();  // windows of a row with both columns inside
  const int64_t n = whole.end - whole.begin;
  const int64_t left = g.w.start(whole.begin);  // 0, or 1 behind a window that hangs over the left border
  const int64_t right = left + 2 * n;
  const int64_t windows = planes * g.h.output * g.w.output;
  const int64_t end = rows.end * g.w.input;
  for_each_item(rows.begin, rows.end, g.h.input, [&](int64_t p, int64_t h) {
    const int64_t begin = (p * g.h.input + h) * g.w.input;
    element* out = map + begin;
    const int64_t oh = (h + g.h.padding) / 2;
    if (oh >= g.h.output) {
      std::fill_n(out, g.w.input, element{0});
      return;
    }
    const int64_t first = (p * g.h.output + oh) * g.w.output;
    const int64_t even_tap = (h + g.h.padding) % 2 * 2;
    const auto select = [=](auto width, int64_t i) {
      constexpr int N = width;
      const Vector<element, N> value = load<N>(x + first + whole.begin + i);
      const Vector<lane_t, N> offset = convert<lane_t, uint8_t, N>(load<N>(offsets + first + whole.begin + i));
      const Vector<element, N> zero{};
      const Vector<element, N> even = offset == static_cast<lane_t>(even_tap) ? value : zero;
      const Vector<element, N> odd = offset == static_cast<lane_t>(even_tap + 1) ? value : zero;
      store_interleaved<N>(out + left + 2 * i, even, odd);
    };
    // The last vector may run over the end of the row, into elements that this thread fills after it.
    if (first + whole.begin + n + kWidest <= windows && begin + left + 2 * (n + kWidest) <= end) {
      for_chunks_and_over<kWidest>(n, select);
    } else {
      for_chunks<kWidest>(n, select);
    }
    if (left > 0) out[0] = offsets[first] == even_tap + 1 ? x[first] : element{0};
    for (int64_t w = right; w < g.w.input; ++w) {
      const bool claimed = w == right && whole.end < g.w.output && offsets[first + whole.end] == even_tap;
      out[w] = claimed ? x[first + whole.end] : element{0};
    }
  });
}

}  // namespace wwae

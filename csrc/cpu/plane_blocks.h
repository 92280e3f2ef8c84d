// Contiguous planes, a vector of them at a time, as one channels-last image: copied with pixels and planes exchanged,
// they fill the lanes of a vector whatever the length of their rows. The copies stay in the second-level cache, and pay
// where much is computed for each element.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "common/geometry.h"
#include "cpu/lanes.h"
#include "cpu/tap_lanes.h"

namespace wwae {

// Exchanges rows and columns of N vectors: each step deals the rows of the upper half between those of the lower one.
template <typename T, int N>
void exchange(Vector<T, N> (&rows)[N]) {
  for (int step = 1; step < N; step *= 2) {
    Vector<T, N> dealt[N];
    for (int i = 0; i < N / 2; ++i) {
      dealt[2 * i] = interleave<T, N, 0>(rows[i], rows[i + N / 2], std::make_index_sequence<N>{});
      dealt[2 * i + 1] = interleave<T, N, 1>(rows[i], rows[i + N / 2], std::make_index_sequence<N>{});
    }
    for (int i = 0; i < N; ++i) rows[i] = dealt[i];
  }
}

// target (columns, rows) = source (rows, columns).
template <typename T>
void transpose(const T* source, int64_t rows, int64_t columns, T* target) {
  constexpr int N = std::is_arithmetic_v<T> ? std::min(16, kLanes<T>) : 1;
  if constexpr (N > 1) {
    if (rows >= N && columns >= N) {
      // The last squares are moved back onto elements that are there already.
      for (int64_t r = 0; r < rows; r += N) {
        const int64_t row = std::min(r, rows - N);
        for (int64_t c = 0; c < columns; c += N) {
          const int64_t column = std::min(c, columns - N);
          Vector<T, N> square[N];
          for (int i = 0; i < N; ++i) square[i] = load<N>(source + (row + i) * columns + column);
          exchange<T, N>(square);
          for (int i = 0; i < N; ++i) store<N>(target + (column + i) * rows + row, square[i]);
        }
      }
      return;
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) std::memcpy(target + c * rows + r, source + r * columns + c, sizeof(T));
  }
}

// Two numbers that are moved together.
template <typename sum_t>
struct TwoOf {
  sum_t numbers[2];
};
template <typename sum_t>
using pair_t = std::conditional_t<sizeof(sum_t) == 4, int64_t, TwoOf<sum_t>>;

// One tensor's part of a block: `size` elements of every plane. One object per thread.
template <typename T>
class BlockOf {
 public:
  BlockOf(int64_t size, int64_t planes) : size_(size), copy_(size * planes) {}

  T* data() { return copy_.data(); }

  // Copies a group of planes (planes, size) into the block (size, planes).
  const T* read(const T* planes, Group group) {
    transpose(planes + group.first * size_, group.images, size_, data());
    return data();
  }

  void write(T* planes, Group group) { transpose(data(), size_, group.images, planes + group.first * size_); }

 private:
  int64_t size_;
  std::vector<T> copy_;
};

// The same for pairs of numbers.
template <typename sum_t>
class BlockOfPairs {
 public:
  BlockOfPairs(int64_t size, int64_t planes) : block_(size, planes) {}

  sum_t* data() { return reinterpret_cast<sum_t*>(block_.data()); }

  const sum_t* read(const sum_t* planes, Group group) {
    block_.read(reinterpret_cast<const pair_t<sum_t>*>(planes), group);
    return data();
  }

  void write(sum_t* planes, Group group) { block_.write(reinterpret_cast<pair_t<sum_t>*>(planes), group); }

 private:
  BlockOf<pair_t<sum_t>> block_;
};

// The same for a map that windows write to.
template <typename scalar_t>
class BlockOfWindows {
 public:
  BlockOfWindows(const Geometry& g, int64_t planes)
      : g_(g), map_(pixels(), planes), sums_(kInPlace || g.disjoint() ? 0 : pixels() * planes) {}

  // Runs `row(target, 0, oh, channels)` for every row of windows and writes what it puts, 0 where it puts nothing.
  template <typename Row>
  void write(element_t<scalar_t>* planes, Group group, const Row& row) {
    if (g_.disjoint()) {
      rows(Target<scalar_t, false>{map_.data(), g_.w.input, group.images, 0}, group, row);
    } else if constexpr (kInPlace) {
      rows(Target<scalar_t, true>{map_.data(), g_.w.input, group.images, 0}, group, row);
    } else {
      rows(Target<scalar_t, true>{sums_.data(), g_.w.input, group.images, 0}, group, row);
      narrow_all<scalar_t>(sums_.data(), pixels() * group.images, map_.data());
    }
    map_.write(planes, group);
  }

 private:
  using sum_t = accumulate_t<scalar_t>;
  static constexpr bool kInPlace = std::is_same_v<sum_t, element_t<scalar_t>>;

  int64_t pixels() const { return g_.h.input * g_.w.input; }

  template <typename target_t, typename Row>
  void rows(const target_t& target, Group group, const Row& row) const {
    if (target_t::kAdd || !tiled(g_)) std::fill_n(target.map, pixels() * group.images, typename target_t::value_t{0});
    for (int64_t oh = 0; oh < g_.h.output; ++oh) row(target, 0, oh, Range<int64_t>{0, group.images});
  }

  Geometry g_;
  BlockOf<element_t<scalar_t>> map_;
  std::vector<sum_t> sums_;
};

// Whether planes are taken in blocks: there is a vector of them, their maps stay about the second-level cache, and the
// windows of a row do not fill vectors as well. Only those of 2x2/2 windows do, which interleave even and odd columns.
template <typename sum_t>
bool in_blocks(const Geometry& g, const Images& images) {
  constexpr int64_t kBytes = 1024 * 1024;
  const bool filled = g.w.output >= kLanes<sum_t> && g.w.kernel == 2 && g.w.stride == 2;
  return images.channels == 1 && images.count >= kLanes<sum_t> && g.h.input * g.w.input * kVectorBytes <= kBytes &&
         !filled;
}

// Calls `body(scratch, group)` on PyTorch's threads for the blocks, with a `scratch()` per task.
template <typename sum_t, typename Scratch, typename Body>
void for_each_block(const Geometry& g, const Images& images, const Scratch& scratch, const Body& body) {
  for_each_group(images.count, kLanes<sum_t>, g.h.output * g.w.output * g.taps(), scratch, body);
}

}  // namespace wwae

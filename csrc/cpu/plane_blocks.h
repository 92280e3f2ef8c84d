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
#include "cpu/tasks.h"

namespace wwae {

// Exchanges rows and columns of N vectors: each step deals the rows of the upper half between those of the lower one.
template <typename T, int N>
void exchange(Vector<T, N> (&rows)[N]) {
#pragma GCC unroll 4
  for (int step = 1; step < N; step *= 2) {
    Vector<T, N> dealt[N];
#pragma GCC unroll 8
    for (int i = 0; i < N / 2; ++i) {
      dealt[2 * i] = interleave<T, N, 0>(rows[i], rows[i + N / 2], std::make_index_sequence<N>{});
      dealt[2 * i + 1] = interleave<T, N, 1>(rows[i], rows[i + N / 2], std::make_index_sequence<N>{});
    }
#pragma GCC unroll 16
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
#pragma GCC unroll 16
          for (int i = 0; i < N; ++i) square[i] = load<N>(source + (row + i) * columns + column);
          exchange<T, N>(square);
#pragma GCC unroll 16
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

}  // namespace wwae

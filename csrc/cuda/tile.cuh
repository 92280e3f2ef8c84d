// How a launch covers a map. A map is `images` x (height x width) pixels x `channels`: channels_last has N images of C
// channels, contiguous has N * C images of one. Element (image, h, w, channel) lies at
// ((image * height + h) * width + w) * channels + channel, in elements, always in 64 bits.
//
// A kernel gives one thread to each (row, column) of a grid it names in its header: rows are pixels or lines, columns
// are vectors, neighbours in memory. 256 threads a block: the columns of a row first, then further rows.
//
// The headers choose kernels too, in host functions `launch_...(launch, ...)`: `launch(kernel, tiling, arguments...)`
// is the CUDA launch in launch.cuh, and a loop over blocks and threads where the kernels run on a CPU. A kernel whose
// threads work together takes `Blocks` in place of a tiling, and no last argument.
#pragma once

#include <cstdint>

#include "common/geometry.h"
#include "cuda/device.cuh"
#include "cuda/vector.cuh"

namespace wwae {

using Geometry32 = BasicGeometry<int32_t>;  // lengths of axes fit in 32 bits; products of them are taken in 64

constexpr int kThreads = 256;

struct Tiling {
  int64_t rows;
  int64_t columns;
  int64_t column_blocks;  // blocks side by side
  int64_t blocks;
  int block_columns;  // threads of a block along the columns, a power of two
  int block_rows;
};

inline Tiling tile(int64_t rows, int64_t columns) {
  int block_columns = 1;
  while (block_columns < columns && block_columns < kThreads) block_columns *= 2;
  const int block_rows = kThreads / block_columns;
  const int64_t column_blocks = ceil_divide<int64_t>(columns, block_columns);
  return {rows,          columns,   column_blocks, column_blocks * ceil_divide<int64_t>(rows, block_rows),
          block_columns, block_rows};
}

// Blocks of columns x rows threads, threadIdx.x < columns; what block number blockIdx.x does is the kernel's affair.
struct Blocks {
  int64_t count;
  int columns = kThreads;
  int rows = 1;
  int shared_bytes = 0;  // of WWAE_DYNAMIC_SHARED
};

struct Place {
  int64_t row;
  int64_t column;
  bool inside;
};

__device__ inline Place place(const Tiling& tiling) {
  const uint32_t blocks = static_cast<uint32_t>(tiling.column_blocks);
  const uint32_t row_block = blockIdx.x / blocks;
  const int64_t row = static_cast<int64_t>(row_block) * tiling.block_rows + threadIdx.y;
  const int64_t column = static_cast<int64_t>(blockIdx.x - row_block * blocks) * tiling.block_columns + threadIdx.x;
  return {row, column, row < tiling.rows && column < tiling.columns};
}

struct Quotient {
  int64_t quotient;
  int32_t remainder;
};

// number >= 0, divisor > 0. The compiler's 64-bit division takes a short way when both fit in 32 bits.
__device__ inline Quotient divide(int64_t number, int32_t divisor) {
  const uint64_t quotient = static_cast<uint64_t>(number) / static_cast<uint32_t>(divisor);
  return {static_cast<int64_t>(quotient), static_cast<int32_t>(number - static_cast<int64_t>(quotient) * divisor)};
}

struct Pixel {
  int64_t image;
  int32_t h;
  int32_t w;
};

// Pixel number `row` of maps of (height, width).
__device__ inline Pixel pixel_at(int64_t row, int32_t height, int32_t width) {
  const Quotient line = divide(row, width);
  const Quotient image = divide(line.quotient, height);
  return {image.quotient, image.remainder, line.remainder};
}

// A geometry whose kernel is known when the kernel is compiled: `kernel` x `kernel`, stride 2, dilation 1; 0 leaves all
// to run time. Padding is always a run-time value.
template <int kernel>
__host__ __device__ constexpr Geometry32 specialise(Geometry32 geometry) {
  if constexpr (kernel > 0) {
    geometry.h.kernel = geometry.w.kernel = kernel;
    geometry.h.stride = geometry.w.stride = 2;
    geometry.h.dilation = geometry.w.dilation = 1;
  }
  return geometry;
}

inline bool matches(const Geometry32& geometry, int32_t kernel) {
  const auto axis_matches = [kernel](const BasicAxis<int32_t>& axis) {
    return axis.kernel == kernel && axis.stride == 2 && axis.dilation == 1;
  };
  return axis_matches(geometry.h) && axis_matches(geometry.w);
}

// 2 x 2 windows side by side whose lines split into whole vectors of `lanes` elements, lanes / 2 windows each.
inline bool pairs_in_vectors(const Geometry32& geometry, int32_t lanes) {
  return matches(geometry, 2) && geometry.w.padding == 0 && geometry.w.input == 2 * geometry.w.output &&
         geometry.w.input % lanes == 0;
}

// Whether `bytes` can be read from `address` in one access.
inline bool aligned(const void* address, size_t bytes) { return reinterpret_cast<uintptr_t>(address) % bytes == 0; }

// Calls `body(Constant<n>())` for the most lanes n = lanes, lanes / 2 .. 2 that `fits(n)` admits; false if it admits
// none.
template <int lanes, typename Fits, typename Body>
bool with_widest_pairs(const Fits& fits, const Body& body) {
  if constexpr (lanes < 2) {
    return false;
  } else {
    if (!fits(lanes)) return with_widest_pairs<lanes / 2>(fits, body);
    body(Constant<lanes>());
    return true;
  }
}

}  // namespace wwae

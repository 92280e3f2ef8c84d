// Sums over the threads of a block, in an order that only the shape of the block decides: deterministic.
//
// Both wait for every thread of the block, at the start of each use of their shared memory and at its end; call them
// where all threads are. They may be called again at once.
#pragma once

#include "cuda/device.cuh"

namespace wwae {

constexpr int kMostWarps = 32;  // of a block, on every architecture

// Over all threads: values[i] becomes the sum of the threads' values[i], the same bits in every thread. The block has a
// multiple of 32 threads.
//
// A warp adds by shuffles: lanes that differ in bit 4, then in bit 3 .. 0; addition commutes, so both lanes of a pair
// get the same bits. Then each thread adds the warps' sums, first to last.
template <int N, typename T>
__device__ inline void block_sum(T (&values)[N]) {
  WWAE_SHARED(T, partial, [N][kMostWarps]);
  const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  const int warps = static_cast<int>(blockDim.x * blockDim.y) / kWarp;
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] += dev::shuffle_xor(kFullMask, values[i], step);
  }
  if (thread % kWarp == 0) {
#pragma unroll
    for (int i = 0; i < N; ++i) partial[i][thread / kWarp] = values[i];
  }
  dev::sync_threads();
#pragma unroll
  for (int i = 0; i < N; ++i) {
    values[i] = partial[i][0];
    for (int warp = 1; warp < warps; ++warp) values[i] += partial[i][warp];
  }
  dev::sync_threads();
}

// Over the threads of a column, threadIdx.y = 0 .. blockDim.y - 1: values[i] becomes their sum in the threads of row 0;
// in the others it is left half done. The block has at most THREADS threads and a power of two of rows.
//
// Row y adds row y + half, for halves blockDim.y / 2, / 4 .. 1.
template <int THREADS, int N, typename T>
__device__ inline void column_sum(T (&values)[N]) {
  WWAE_SHARED(T, partial, [N][THREADS]);
  const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
    if (threadIdx.y >= half && threadIdx.y < 2 * half) {
#pragma unroll
      for (int i = 0; i < N; ++i) partial[i][thread] = values[i];
    }
    dev::sync_threads();
    if (threadIdx.y < half) {
#pragma unroll
      for (int i = 0; i < N; ++i) values[i] += partial[i][thread + half * blockDim.x];
    }
  }
  dev::sync_threads();
}

}  // namespace wwae

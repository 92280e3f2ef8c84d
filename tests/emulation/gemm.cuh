// A matrix product as the fused convolutions have it: copies to two stages of shared memory in turns, fragments, tensor
// cores. With faults that can be planted.
#pragma once

#include "cuda/device.cuh"

namespace wwae {
enum class Fault : int64_t {
  none,
  no_wait,
  no_barrier_after_wait,
  no_barrier_before_refill,
  unfinished_copies,
  misaligned_row,
  bank_conflicts,
  count,
};

constexpr int kTile = 64;  // rows and columns of c that a block computes
constexpr int kDepth = 32;  // of a stage
constexpr int kGemmThreads = 128;  // each warp a quarter of the tile, 32 x 32

// c (64, 64 blocks) = a (64, k) * b (64 blocks, k) transposed; k a multiple of 32.
template <typename scalar_t, Fault fault>
__global__ void gemm_kernel(const scalar_t* a, const scalar_t* b, float* c, int k, int columns) {
  // 16 bytes more than a line: eight lines lie in different banks.
  constexpr int kLine = kDepth + (fault == Fault::bank_conflicts ? 0 : 8);
  WWAE_SHARED(scalar_t, a_stage, [2][kTile][kLine]);
  WWAE_SHARED(scalar_t, b_stage, [2][kTile][kLine]);
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarp;
  const int top = thread / kWarp / 2 * 32;
  const int left = thread / kWarp % 2 * 32;
  const scalar_t* b_tile = b + static_cast<int64_t>(blockIdx.x) * kTile * k;

  const auto fill = [&](int stage, int step) {
    for (int i = thread; i < kTile * kDepth / 8; i += kGemmThreads) {
      const int line = i / (kDepth / 8);
      const int column = i % (kDepth / 8) * 8;
      const int64_t source = static_cast<int64_t>(line) * k + step * kDepth + column;
      dev::cp_async<16>(&a_stage[stage][line][column], a + source);
      dev::cp_async<16>(&b_stage[stage][line][column], b_tile + source);
    }
  };

  float sums[2][4][4] = {};
  const int steps = k / kDepth;
  fill(0, 0);
  dev::cp_async_commit();
  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) fill((step + 1) % 2, step + 1);
    dev::cp_async_commit();
    if (fault != Fault::no_wait) dev::cp_async_wait<1>();
    if (fault != Fault::no_barrier_after_wait) dev::sync_threads();
    const auto& a_now = a_stage[step % 2];
    const auto& b_now = b_stage[step % 2];
    for (int depth = 0; depth < kDepth; depth += 16) {
      uint32_t a_parts[2][4];
      uint32_t b_parts[4][2];
      for (int i = 0; i < 2; ++i) {
        const int shift = fault == Fault::misaligned_row ? 1 : 0;
        dev::ldmatrix(a_parts[i], &a_now[top + 16 * i + lane % 16][depth + lane / 16 * 8 + shift]);
      }
      for (int j = 0; j < 4; ++j) dev::ldmatrix(b_parts[j], &b_now[left + 8 * j + lane % 8][depth + lane / 8 % 2 * 8]);
      for (int i = 0; i < 2; ++i) {
        for (int j = 0; j < 4; ++j) dev::mma<scalar_t>(sums[i][j], a_parts[i], b_parts[j]);
      }
    }
    if (fault != Fault::no_barrier_before_refill) dev::sync_threads();
  }
  if (fault == Fault::unfinished_copies) dev::cp_async<16>(&a_stage[0][0][0], a);
  if (fault == Fault::no_wait) dev::cp_async_wait<0>();

  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) {
      for (int part = 0; part < 4; ++part) {
        const int row = top + 16 * i + lane / 4 + part / 2 * 8;
        const int column = left + 8 * j + lane % 4 * 2 + part % 2;
        c[static_cast<int64_t>(row) * columns + blockIdx.x * kTile + column] = sums[i][j][part];
      }
    }
  }
}

}  // namespace wwae

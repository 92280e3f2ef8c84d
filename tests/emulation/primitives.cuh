// Kernels of one warp that use every primitive of device.cuh in every form.
#pragma once

#include "cuda/device.cuh"

namespace wwae {

// x: (4, 8, 8), four matrices. output: (6, 32, 4), the registers of ldmatrix for 1, 2 and 4 matrices and their
// transposes.
__global__ void ldmatrix_kernel(const uint16_t* x, uint32_t* output) {
  WWAE_SHARED(uint16_t, lines, [32][8]);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = 0; i < 8; ++i) lines[lane][i] = x[lane * 8 + i];
  dev::sync_warp(kFullMask);
  uint32_t one[1], two[2], four[4];
  const auto put = [&](int form, const auto& registers) {
    for (size_t i = 0; i < sizeof(registers) / sizeof(uint32_t); ++i)
      output[(form * kWarp + lane) * 4 + i] = registers[i];
  };
  dev::ldmatrix(one, lines[lane]);
  put(0, one);
  dev::ldmatrix(two, lines[lane]);
  put(1, two);
  dev::ldmatrix(four, lines[lane]);
  put(2, four);
  dev::ldmatrix<1, true>(one, lines[lane]);
  put(3, one);
  dev::ldmatrix<2, true>(two, lines[lane]);
  put(4, two);
  dev::ldmatrix<4, true>(four, lines[lane]);
  put(5, four);
}

// x: (64), output: (6, 32). Dynamic shared memory of 256 bytes.
__global__ void primitives_kernel(const float* x, float* output) {
  WWAE_DYNAMIC_SHARED(bytes);
  float* values = reinterpret_cast<float*>(bytes);
  const int lane = static_cast<int>(threadIdx.x);
  dev::cp_async<8>(values + 2 * lane, x + 2 * lane);
  dev::cp_async_commit();
  dev::cp_async_wait<0>();
  dev::sync_threads();
  output[lane] = values[32 + lane];
  dev::sync_threads();
  dev::cp_async<4>(values + lane, x + lane, lane < 7);
  dev::cp_async_commit();
  dev::cp_async_wait<0>();
  const float value = values[lane];
  output[32 + lane] = value;
  output[64 + lane] = static_cast<float>(dev::ballot(kFullMask, value > 3));
  output[96 + lane] = dev::shuffle(kFullMask, value, lane + 1);
  output[128 + lane] = dev::shuffle_down(kFullMask, value, 30);
  // Halves of a warp that go separate ways.
  if (lane < 16) {
    output[160 + lane] = dev::shuffle_xor(0x0000ffff, value, 1);
  } else {
    output[160 + lane] = dev::shuffle_xor(0xffff0000, x[lane], 2);
  }
}

}  // namespace wwae

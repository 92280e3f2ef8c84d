// What the kernels need of the device, in one place: this is the only file that asks which compiler reads it. Under a
// host compiler the same names come from emulation.h of the tests, so the kernels can run on a CPU.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#if defined(__CUDACC__)

#undef NDEBUG  // the assertion below is part of max_unpool2d's and max_gather2d's contract, in every build
#include <cassert>

namespace wwae::dev {

// Stops the kernel with an error that the next synchronisation reports. For indices that PyTorch users pass in.
#define WWAE_DEVICE_ASSERT(condition) assert(condition)

// The result does not depend on the order of the calls, so it is deterministic.
__device__ inline void atomic_max(int32_t* address, int32_t value) { atomicMax(address, value); }
__device__ inline void atomic_max(int64_t* address, int64_t value) {
  atomicMax(reinterpret_cast<long long*>(address), static_cast<long long>(value));
}

// Shared memory of a block: `WWAE_SHARED(float, partial, [4][32]);`, and as many bytes as the launch says, aligned
// to 16.
#define WWAE_SHARED(type, name, ...) __shared__ type name __VA_ARGS__
#define WWAE_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]

// Every thread of the block comes to the same call, and none has left the kernel.
__device__ inline void sync_threads() { __syncthreads(); }

// Below, the lanes of `mask`, and no others, come to the same call with the same mask. Only sync_warp orders their
// accesses to memory.
__device__ inline void sync_warp(uint32_t mask) { __syncwarp(mask); }

// The value of lane `lane`; of lane (own ^ lane_bits); of lane (own + lanes), or the own one beyond the last lane. The
// lane read has to be in `mask`.
template <typename T>
__device__ inline T shuffle(uint32_t mask, T value, int lane) {
  return __shfl_sync(mask, value, lane);
}
template <typename T>
__device__ inline T shuffle_xor(uint32_t mask, T value, int lane_bits) {
  return __shfl_xor_sync(mask, value, lane_bits);
}
template <typename T>
__device__ inline T shuffle_down(uint32_t mask, T value, int lanes) {
  return __shfl_down_sync(mask, value, lanes);
}

// Bit i: what lane i of `mask` says.
__device__ inline uint32_t ballot(uint32_t mask, bool predicate) { return __ballot_sync(mask, predicate); }

// One store instruction for all of `value`; an assignment may be split into smaller ones.
template <typename access>
__device__ inline void store(access* address, access value) {
  __stwb(address, value);
}

}  // namespace wwae::dev

#else
#include "emulation.h"
#endif

namespace wwae {

constexpr int kWarp = 32;
constexpr uint32_t kFullMask = 0xffffffff;

// Comparisons and sums of 16-bit floats are done in float32, which holds them exactly.
__host__ __device__ inline float to_compute(float value) { return value; }
__host__ __device__ inline double to_compute(double value) { return value; }
__host__ __device__ inline float to_compute(__nv_bfloat16 value) { return __bfloat162float(value); }
__host__ __device__ inline float to_compute(__half value) { return __half2float(value); }

template <typename scalar_t>
using compute_t = decltype(to_compute(scalar_t()));

// Rounded to nearest even.
template <typename scalar_t>
__host__ __device__ inline scalar_t from_compute(compute_t<scalar_t> value) {
  return value;
}
template <>
__host__ __device__ inline __nv_bfloat16 from_compute<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}
template <>
__host__ __device__ inline __half from_compute<__half>(float value) {
  return __float2half_rn(value);
}

}  // namespace wwae

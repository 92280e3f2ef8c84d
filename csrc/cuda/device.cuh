// What the kernels need of the device, in one place: this is the only file that asks which compiler reads it. Under a
// host compiler the same names come from emulation.h of the tests, so the kernels can run on a CPU.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

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

// Of a kernel: how many threads a block has, and how many blocks share a multiprocessor, for which registers are left.
#define WWAE_LAUNCH_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)

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

// From here to mma: sm_80 and newer.
//
// A copy of 4, 8 or 16 bytes from global to shared memory, both aligned to that size, which arrives later; zeros where
// it is not `valid`, and `global` is not read then. A thread waits for its own copies: `cp_async_wait<n>` returns when
// all but its n last committed groups have arrived. Others see them after a barrier.
template <int BYTES>
__device__ inline void cp_async(void* shared, const void* global, bool valid = true) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16);
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int read = valid ? BYTES : 0;
  if constexpr (BYTES == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(read) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(global), "n"(BYTES), "r"(read)
                 : "memory");
  }
}
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int OPEN>
__device__ inline void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(OPEN) : "memory");
}

// COUNT matrices of 8 x 8 16-bit elements in shared memory; lane 8 m + r has the address of row r of matrix m, aligned
// to 16 bytes. Register m holds the elements (lane / 4, 2 (lane % 4)) and the one right of it, of the matrix or of its
// transpose. All lanes of the warp take part.
template <int COUNT, bool TRANSPOSED = false>
__device__ inline void ldmatrix(uint32_t (&registers)[COUNT], const void* row) {
  static_assert(COUNT == 1 || COUNT == 2 || COUNT == 4);
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  uint32_t (&r)[COUNT] = registers;
  if constexpr (COUNT == 4 && TRANSPOSED) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  } else if constexpr (COUNT == 4) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  } else if constexpr (COUNT == 2 && TRANSPOSED) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
  } else if constexpr (COUNT == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
  } else if constexpr (TRANSPOSED) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(address) : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(address) : "memory");
  }
}

// c (16 x 8, float) += a (16 x 16) * b (16 x 8) for bf16 or half. With g = lane / 4 and t = 2 (lane % 4), a lane holds
//   a  (g, t), (g + 8, t), (g, t + 8), (g + 8, t + 8), each with its right neighbour
//   b  (t, g), (t + 8, g), each with the one below
//   c  (g, t), (g, t + 1), (g + 8, t), (g + 8, t + 1)
// All lanes of the warp take part.
template <typename scalar_t>
__device__ inline void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  static_assert(std::is_same_v<scalar_t, __nv_bfloat16> || std::is_same_v<scalar_t, __half>);
  if constexpr (std::is_same_v<scalar_t, __nv_bfloat16>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

// One store instruction for all of `value`; an assignment may be split into smaller ones.
template <typename access>
__device__ inline void store(access* address, access value) {
  __stwb(address, value);
}

// The rounded product. The compiler may make a multiplication and an addition one operation that rounds once; of this
// one it may not.
__device__ inline float product(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double product(double a, double b) { return __dmul_rn(a, b); }

}  // namespace wwae::dev

#else
#include "emulation.h"

namespace wwae::dev {

template <typename T>
T product(T a, T b) {
  return a * b;
}

}  // namespace wwae::dev

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

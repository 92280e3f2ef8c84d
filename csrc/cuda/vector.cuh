// Short vectors of neighbouring elements, read and written in accesses of up to 16 bytes.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cuda/device.cuh"

namespace wwae {

// The widest access of one thread: 16 bytes, 8 bf16 or 4 fp32.
constexpr int kVectorBytes = 16;

// A number that generic lambdas take as a template argument.
template <int value>
using Constant = std::integral_constant<int, value>;

// N elements; N * sizeof(T) is a power of two.
template <typename T, int N>
struct alignas(N * sizeof(T) < kVectorBytes ? N * sizeof(T) : kVectorBytes) Vector {
  T lane[N];

  __host__ __device__ static Vector splat(T value) {
    Vector vector;
#pragma unroll
    for (int i = 0; i < N; ++i) vector.lane[i] = value;
    return vector;
  }
};

// The unsigned type of one access, so that the compiler cannot split it.
template <int bytes>
struct AccessOf;
template <>
struct AccessOf<1> {
  using type = uint8_t;
};
template <>
struct AccessOf<2> {
  using type = uint16_t;
};
template <>
struct AccessOf<4> {
  using type = uint32_t;
};
template <>
struct AccessOf<8> {
  using type = uint2;
};
template <>
struct AccessOf<16> {
  using type = uint4;
};

template <typename vector_t>
using access_t = typename AccessOf<(sizeof(vector_t) < kVectorBytes ? sizeof(vector_t) : kVectorBytes)>::type;

// `address` is aligned to the vector, or to 16 bytes for a longer one.
template <int N, typename T>
__device__ inline Vector<T, N> load(const T* address) {
  using vector_t = Vector<T, N>;
  using access = access_t<vector_t>;
  vector_t vector;
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(vector_t) / sizeof(access)); ++i) {
    reinterpret_cast<access*>(&vector)[i] = reinterpret_cast<const access*>(address)[i];
  }
  return vector;
}

template <int N, typename T>
__device__ inline void store(T* address, const Vector<T, N>& vector) {
  using access = access_t<Vector<T, N>>;
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(vector) / sizeof(access)); ++i) {
    dev::store(reinterpret_cast<access*>(address) + i, reinterpret_cast<const access*>(&vector)[i]);
  }
}

// The unsigned integer of an element's size: kernels that only move data do not care what it means.
template <typename scalar_t>
using word_t =
    std::conditional_t<sizeof(scalar_t) == 2, uint16_t, std::conditional_t<sizeof(scalar_t) == 4, uint32_t, uint64_t>>;

}  // namespace wwae

// Vectors of elements and their conversions, for one instruction set chosen by compiler flags.
//
// Vectors are the GCC and Clang language extension, so one source serves every instruction set; a vector of one lane is
// the plain type. Integers are widened and narrowed by intrinsics where the instruction set has one instruction for it:
// GCC takes the generic conversion apart into halves or single lanes.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace wwae {

#if defined(__AVX512BW__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <typename T, int N>
struct VectorOf {
  typedef T type __attribute__((vector_size(N * sizeof(T))));
};
template <typename T>
struct VectorOf<T, 1> {
  using type = T;
};
template <typename T, int N>
using Vector = typename VectorOf<T, N>::type;

template <int N, typename T>
Vector<T, N> load(const T* source) {
  Vector<T, N> lanes;
  std::memcpy(&lanes, source, sizeof(lanes));
  return lanes;
}

// For loops that read several taps of a channels-last window by turns: the processor does not see that each of these
// reads goes on in memory. A page ahead hides the way from memory to the second-level cache; behind the end it does
// nothing.
template <typename T>
void prefetch_ahead(const T* source) {
  __builtin_prefetch(reinterpret_cast<const char*>(source) + 4096);
}

template <int N, typename T>
void store(T* target, Vector<T, N> lanes) {
  std::memcpy(target, &lanes, sizeof(lanes));
}

template <int N, typename T>
Vector<T, N> broadcast(T value) {
  return Vector<T, N>{} + value;
}

// Bytes in the low lanes of a register, widened to fill a register of `to_t`. Specialised below.
template <typename to_t, int N>
struct WidenBytes {
  static constexpr bool kExists = false;
};

#if defined(__AVX2__)
#define WWAE_WIDEN_BYTES(to_t, lanes, instruction)                  \
  template <>                                                       \
  struct WidenBytes<to_t, lanes> {                                  \
    static constexpr bool kExists = true;                           \
    static auto widen(__m128i bytes) { return instruction(bytes); } \
  };
WWAE_WIDEN_BYTES(int16_t, 16, _mm256_cvtepu8_epi16)
WWAE_WIDEN_BYTES(int16_t, 8, _mm_cvtepu8_epi16)
WWAE_WIDEN_BYTES(int32_t, 8, _mm256_cvtepu8_epi32)
WWAE_WIDEN_BYTES(int32_t, 4, _mm_cvtepu8_epi32)
WWAE_WIDEN_BYTES(int64_t, 4, _mm256_cvtepu8_epi64)
WWAE_WIDEN_BYTES(int64_t, 2, _mm_cvtepu8_epi64)
#if defined(__AVX512BW__)  // the forms with a mask, full here: GCC warns of uninitialised memory inside the others
WWAE_WIDEN_BYTES(int32_t, 16, [](__m128i x) { return _mm512_maskz_cvtepu8_epi32(-1, x); })
WWAE_WIDEN_BYTES(int64_t, 8, [](__m128i x) { return _mm512_maskz_cvtepu8_epi64(-1, x); })
#endif
#undef WWAE_WIDEN_BYTES
#endif

template <typename to_t, typename from_t, int N>
Vector<to_t, N> convert(Vector<from_t, N> lanes) {
  if constexpr (N == 1) {
    return static_cast<to_t>(lanes);
#if defined(__AVX512BW__)
  } else if constexpr (std::is_same_v<from_t, uint8_t> && std::is_same_v<to_t, int16_t> && N == 32) {
    return std::bit_cast<Vector<to_t, N>>(_mm512_maskz_cvtepu8_epi16(-1, std::bit_cast<__m256i>(lanes)));
#endif
#if defined(__AVX512BW__)
  } else if constexpr (std::is_same_v<from_t, uint16_t> && std::is_same_v<to_t, uint32_t> && N == 16) {
    return std::bit_cast<Vector<to_t, N>>(_mm512_maskz_cvtepu16_epi32(-1, std::bit_cast<__m256i>(lanes)));
  } else if constexpr (std::is_same_v<from_t, uint32_t> && std::is_same_v<to_t, uint16_t> && N == 16) {
    return std::bit_cast<Vector<to_t, N>>(_mm512_maskz_cvtepi32_epi16(-1, std::bit_cast<__m512i>(lanes)));
#endif
#if defined(__AVX2__)
  } else if constexpr (std::is_same_v<from_t, uint16_t> && std::is_same_v<to_t, uint32_t> && N == 8) {
    return std::bit_cast<Vector<to_t, N>>(_mm256_cvtepu16_epi32(std::bit_cast<__m128i>(lanes)));
  } else if constexpr (std::is_same_v<from_t, uint8_t> && WidenBytes<to_t, N>::kExists) {
    __m128i bytes = _mm_setzero_si128();
    std::memcpy(&bytes, &lanes, sizeof(lanes));
    return std::bit_cast<Vector<to_t, N>>(WidenBytes<to_t, N>::widen(bytes));
#endif
  } else {
    return __builtin_convertvector(lanes, Vector<to_t, N>);
  }
}

}  // namespace wwae

// Between elements and the type their sums are kept in: float32 for bfloat16 and float16, the dtype itself otherwise.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "cpu/lanes.h"

namespace wwae {

// Exact.
template <typename scalar_t, int N = 1>
Vector<accumulate_t<scalar_t>, N> widen(Vector<element_t<scalar_t>, N> x) {
  if constexpr (std::is_same_v<scalar_t, accumulate_t<scalar_t>>) {
    return x;
  } else if constexpr (std::is_same_v<scalar_t, BFloat16>) {  // the upper half of a float32
    return std::bit_cast<Vector<float, N>>(convert<uint32_t, uint16_t, N>(x) << 16);
  } else if constexpr (N == 1) {
    return static_cast<float>(std::bit_cast<Half>(x));
#if defined(__AVX512BW__)
  } else if constexpr (N == 16) {
    return std::bit_cast<Vector<float, N>>(_mm512_maskz_cvtph_ps(-1, std::bit_cast<__m256i>(x)));
#endif
#if defined(__F16C__)
  } else if constexpr (N == 8) {
    return std::bit_cast<Vector<float, N>>(_mm256_cvtph_ps(std::bit_cast<__m128i>(x)));
#endif
  } else {
    Vector<float, N> wide{};
    for (int i = 0; i < N; ++i) wide[i] = widen<scalar_t>(x[i]);
    return wide;
  }
}

// Rounds to nearest, ties to even.
template <typename scalar_t, int N = 1>
Vector<element_t<scalar_t>, N> narrow(Vector<accumulate_t<scalar_t>, N> x) {
  if constexpr (std::is_same_v<scalar_t, accumulate_t<scalar_t>>) {
    return x;
  } else if constexpr (std::is_same_v<scalar_t, BFloat16>) {
    const auto bits = std::bit_cast<Vector<uint32_t, N>>(x);
    const Vector<uint32_t, N> rounded = bits + 0x7fff + ((bits >> 16) & 1);
    const Vector<uint32_t, N> quiet_nan = bits | 0x400000;
    return convert<uint16_t, uint32_t, N>((x != x ? quiet_nan : rounded) >> 16);
  } else if constexpr (N == 1) {
    return std::bit_cast<uint16_t>(Half(x));
#if defined(__AVX512BW__)
  } else if constexpr (N == 16) {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return std::bit_cast<Vector<uint16_t, N>>(_mm512_maskz_cvtps_ph(-1, std::bit_cast<__m512>(x), kNearest));
#endif
#if defined(__F16C__)
  } else if constexpr (N == 8) {
    return std::bit_cast<Vector<uint16_t, N>>(_mm256_cvtps_ph(std::bit_cast<__m256>(x), _MM_FROUND_TO_NEAREST_INT));
#endif
  } else {
    Vector<uint16_t, N> narrowed{};
    for (int i = 0; i < N; ++i) narrowed[i] = narrow<scalar_t>(x[i]);
    return narrowed;
  }
}

// Whether values can be added where they stand.
template <typename scalar_t>
constexpr bool kSumsAreElements = std::is_same_v<accumulate_t<scalar_t>, element_t<scalar_t>>;

// Rounds finished sums.
template <typename scalar_t>
void narrow_all(const accumulate_t<scalar_t>* sums, int64_t n, element_t<scalar_t>* values) {
  for_chunks<kLanes<accumulate_t<scalar_t>>>(n, [=](auto width, int64_t i) {
    constexpr int N = width;
    store<N>(values + i, narrow<scalar_t, N>(load<N>(sums + i)));
  });
}

}  // namespace wwae

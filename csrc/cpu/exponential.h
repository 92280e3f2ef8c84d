// exp(x) for x <= 0, for a vector or one number alike: the same bits in every lane of every width.
#pragma once

#include <bit>
#include <cstdint>

#include "cpu/lanes.h"

namespace wwae {

// exp(x) = 2^n exp(r) with n = round(x / ln 2), so |r| <= ln 2 / 2, where a Taylor polynomial of kDegree is as exact as
// T. Adding kRound rounds a small number to an integer, which then stands in the low bits. ln 2 is split so that n
// times its upper part is exact. Below kLowest the result is not a normal number, and 0 is given.
template <typename T>
struct Exponential;

template <>
struct Exponential<float> {
  using bits_t = uint32_t;
  static constexpr int kDegree = 7;  // the next term is below 0.35^8 / 8! = 6e-9
  static constexpr int kMantissa = 23;
  static constexpr float kRound = 0x1.8p23f;
  static constexpr float kUpper = 0x1.62p-1f;
  static constexpr float kLower = 0x1.c85fdfp-10f;
  static constexpr float kLowest = -86;
};

template <>
struct Exponential<double> {
  using bits_t = uint64_t;
  static constexpr int kDegree = 13;  // the next term is below 0.35^14 / 14! = 5e-18
  static constexpr int kMantissa = 52;
  static constexpr double kRound = 0x1.8p52;
  static constexpr double kUpper = 0x1.62e42fee00000p-1;
  static constexpr double kLower = 0x1.a39ef35793c76p-33;
  static constexpr double kLowest = -700;
};

// NaN gives NaN. Powers of T below exp(kLowest) are 0.
template <typename T, int N>
Vector<T, N> exponential(Vector<T, N> x) {
  using C = Exponential<T>;
  using bits_t = typename C::bits_t;
  constexpr T kPerOctave = static_cast<T>(0x1.71547652b82fep+0);  // 1 / ln 2
  const Vector<T, N> shifted = x * kPerOctave + C::kRound;
  const Vector<T, N> n = shifted - C::kRound;
  const Vector<T, N> r = x - n * C::kUpper - n * C::kLower;
  Vector<T, N> sum = Vector<T, N>{} + 1;
#pragma GCC unroll 13
  for (int term = C::kDegree; term >= 1; --term) sum = sum * r * (T{1} / term) + 1;
  const auto scaled =
      std::bit_cast<Vector<bits_t, N>>(sum) + (std::bit_cast<Vector<bits_t, N>>(shifted) << C::kMantissa);
  const auto power = std::bit_cast<Vector<T, N>>(scaled);
  const Vector<T, N> zero{};
  return x != x ? x : (x < C::kLowest ? zero : power);
}

}  // namespace wwae

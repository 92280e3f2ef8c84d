// How the kernels look at elements: their bits, and the order in which pooling compares them.
//
// `Element<scalar_t>::type` is what kernels load and store: the number itself for float32 and float64, the raw 16 bits
// for bfloat16 and float16. Comparing those as integers needs no conversion and runs twice as wide. All functions are
// free of branches, so that a loop over them becomes vector code.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "common/stable.h"

namespace wwae {

// The order of pooling: a later element replaces the best one when it is greater, or when it is NaN.
template <typename number_t>
struct NumberOrder {
  using type = number_t;
  static constexpr type kLowest = -std::numeric_limits<type>::infinity();

  static bool is_nan(type x) { return x != x; }
  static bool greater(type x, type best) { return x > best; }
  static bool same(type x, type best) { return x == best; }  // false for NaN
};

// 16-bit floating formats, all of which are sign and magnitude; kInfinity is the magnitude of their infinity.
template <int16_t kInfinity>
struct BitsOrder {
  using type = uint16_t;
  static constexpr type kLowest = 0x8000 | kInfinity;

  // Monotone in the number: two's complement of the magnitude. -0 and +0 share the key 0.
  static int16_t key(type x) {
    const int16_t sign = static_cast<int16_t>(x) >> 15;  // 0 or -1
    return static_cast<int16_t>((magnitude(x) ^ sign) - sign);
  }
  static int16_t magnitude(type x) { return static_cast<int16_t>(x & 0x7fff); }

  static bool is_nan(type x) { return magnitude(x) > kInfinity; }
  static bool greater(type x, type best) { return (key(x) > key(best)) & !is_nan(best); }
  static bool same(type x, type best) { return (key(x) == key(best)) & !is_nan(x); }
};

template <typename scalar_t>
struct Element : NumberOrder<scalar_t> {};
template <>
struct Element<BFloat16> : BitsOrder<0x7f80> {};
template <>
struct Element<Half> : BitsOrder<0x7c00> {};

template <typename scalar_t>
using element_t = typename Element<scalar_t>::type;

// Pointers to the elements of a tensor.
template <typename scalar_t>
const element_t<scalar_t>* elements(const Tensor& tensor) {
  return static_cast<const element_t<scalar_t>*>(tensor.const_data_ptr());
}
template <typename scalar_t>
element_t<scalar_t>* mutable_elements(const Tensor& tensor) {
  return static_cast<element_t<scalar_t>*>(tensor.mutable_data_ptr());
}

// True when x, met after best in raster order, takes its place.
template <typename scalar_t>
bool beats(element_t<scalar_t> x, element_t<scalar_t> best) {
  using E = Element<scalar_t>;
  return E::greater(x, best) | E::is_nan(x);
}

// The same decision when x and best are met in any order: their offsets tell which one comes first.
template <typename scalar_t, typename lane_t>
bool beats_at(element_t<scalar_t> x, lane_t offset, element_t<scalar_t> best, lane_t best_offset) {
  using E = Element<scalar_t>;
  const bool earlier_tie = E::same(x, best) & (offset < best_offset);
  const bool later_nan = E::is_nan(x) & (!E::is_nan(best) | (offset > best_offset));
  return E::greater(x, best) | earlier_tie | later_nan;
}

// Offsets travel through a vector loop in lanes as wide as the elements, where they fit.
template <typename scalar_t, typename offset_t>
using offset_lane_t =
    std::conditional_t<sizeof(element_t<scalar_t>) == 8, int64_t,
                       std::conditional_t<sizeof(element_t<scalar_t>) == 4 || sizeof(offset_t) == 4, int32_t, int16_t>>;

}  // namespace wwae

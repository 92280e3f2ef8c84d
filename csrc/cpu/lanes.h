// Vectors of elements, and the order in which pooling compares them.
//
// `element_t<scalar_t>` is what kernels load and store: the number itself for float32 and float64, the raw 16 bits for
// bfloat16 and float16; comparing those as integers needs no conversion and runs twice as wide. Vectors are the GCC and
// Clang language extension, so one source serves every instruction set; a vector of one lane is the plain type.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "common/stable.h"
#include "cpu/vector.h"

namespace wwae {

// The signed integer as wide as T: the lane of a mask, of a shuffle index and of an offset.
template <typename T>
using signed_t = std::conditional_t<
    sizeof(T) == 8, int64_t,
    std::conditional_t<sizeof(T) == 4, int32_t, std::conditional_t<sizeof(T) == 2, int16_t, int8_t>>>;

template <typename T, int N, size_t... lane>
Vector<T, N> even_lanes(Vector<T, N> low, Vector<T, N> high, std::index_sequence<lane...>) {
#if __has_builtin(__builtin_shufflevector)
  return __builtin_shufflevector(low, high, (2 * lane)...);
#else
  return __builtin_shuffle(low, high, Vector<signed_t<T>, N>{static_cast<signed_t<T>>(2 * lane)...});
#endif
}

template <typename T, int N, size_t... lane>
Vector<T, N> odd_lanes(Vector<T, N> low, Vector<T, N> high, std::index_sequence<lane...>) {
#if __has_builtin(__builtin_shufflevector)
  return __builtin_shufflevector(low, high, (2 * lane + 1)...);
#else
  return __builtin_shuffle(low, high, Vector<signed_t<T>, N>{static_cast<signed_t<T>>(2 * lane + 1)...});
#endif
}

// Half `half` (0 or 1) of even[0], odd[0], even[1], odd[1], ...
template <typename T, int N, int half, size_t... lane>
Vector<T, N> interleave(Vector<T, N> even, Vector<T, N> odd, std::index_sequence<lane...>) {
#if __has_builtin(__builtin_shufflevector)
  return __builtin_shufflevector(even, odd, ((half * N + lane) / 2 + lane % 2 * N)...);
#else
  return __builtin_shuffle(even, odd,
                           Vector<signed_t<T>, N>{static_cast<signed_t<T>>((half * N + lane) / 2 + lane % 2 * N)...});
#endif
}

// source[0], source[2], ...; reads 2 N elements.
template <int N, typename T>
Vector<T, N> load_even(const T* source) {
  if constexpr (N == 1) {
    return *source;
  } else {
    return even_lanes<T, N>(load<N>(source), load<N>(source + N), std::make_index_sequence<N>{});
  }
}

// source[1], source[3], ...; reads source[1] to source[2 N - 1] and the element before them.
template <int N, typename T>
Vector<T, N> load_odd(const T* source) {
  if constexpr (N == 1) {
    return source[1];
  } else {
    return odd_lanes<T, N>(load<N>(source), load<N>(source + N), std::make_index_sequence<N>{});
  }
}

// source[0], source[stride], ...
template <int N, typename T>
Vector<T, N> load_strided(const T* source, int64_t stride) {
  if constexpr (N == 1) {
    return *source;
  } else {
    Vector<T, N> lanes;
    for (int i = 0; i < N; ++i) lanes[i] = source[i * stride];
    return lanes;
  }
}

// even[0], odd[0], even[1], odd[1], ...; writes 2 N elements.
template <int N, typename T>
void store_interleaved(T* target, Vector<T, N> even, Vector<T, N> odd) {
  if constexpr (N == 1) {
    target[0] = even;
    target[1] = odd;
  } else {
    store<N>(target, interleave<T, N, 0>(even, odd, std::make_index_sequence<N>{}));
    store<N>(target + N, interleave<T, N, 1>(even, odd, std::make_index_sequence<N>{}));
  }
}

// Runs `body(width, i)` over chunks [i, i + width) that cover [begin, n), `width` being an integral constant: `widest`,
// a power of two, or where n is smaller half of it and so on down to 4. The last chunk is moved back onto elements that
// are done already, so `body` must give the same result when it meets them again. Still shorter rows go one by one;
// without `halve` all rows below `widest` do, which keeps code for rare cases small.
template <int widest, bool halve = true, typename Body>
void for_chunks(int64_t n, const Body& body, int64_t begin = 0) {
  constexpr int shorter = halve && widest >= 8 ? widest / 2 : 1;
  int64_t i = begin;
  if constexpr (widest > 1) {
    if (n < widest) return for_chunks<shorter, halve>(n, body, begin);
    for (; i + widest <= n; i += widest) body(std::integral_constant<int, widest>{}, i);
    if (i < n) body(std::integral_constant<int, widest>{}, n - widest);
  } else {
    for (; i < n; ++i) body(std::integral_constant<int, 1>{}, i);
  }
}

// for_chunks where elements behind the n-th may be met as well, because they are there and are done again later: whole
// vectors, half as wide for a short row.
template <int widest, typename Body>
void for_chunks_and_over(int64_t n, const Body& body) {
  if (n <= widest / 2) return body(std::integral_constant<int, widest / 2>{}, 0);
  for (int64_t i = 0; i < n; i += widest) body(std::integral_constant<int, widest>{}, i);
}

// The order of pooling, on keys: of two elements the one with the greater key is the greater number. All functions take
// one element or a vector of them and give a truth value or a mask.
template <typename scalar_t>
struct Element {
  using type = scalar_t;
  static constexpr type kLowest = -std::numeric_limits<type>::infinity();

  static auto key(auto x) { return x; }
  static auto is_nan(auto key) { return key != key; }

  // True where x, met after best in raster order, takes its place: it is greater, or NaN.
  static auto beats(auto x, auto best) { return (x > best) | (x != x); }
};

// 16-bit floating formats, all of which are sign and magnitude; kInfinity is the magnitude of their infinity.
template <int16_t kInfinity>
struct BitsElement {
  using type = uint16_t;
  static constexpr type kLowest = 0x8000 | kInfinity;

  // Two's complement of the magnitude, so -0 and +0 share the key 0; NaNs of either sign lie above infinity.
  static auto key(auto x) {
    const auto magnitude = as_signed(x & 0x7fff);
    const auto negative = as_signed(as_signed(as_signed(x) >> 15) & as_mask(magnitude <= kInfinity));  // 0 or -1
    return as_signed((magnitude ^ negative) - negative);
  }
  static auto is_nan(auto key) { return key > kInfinity; }

  static auto beats(auto x, auto best) {
    return x > (best > kInfinity ? best - best + kInfinity : best);  // a NaN lies above infinity, whatever its payload
  }

 private:
  static auto as_signed(auto x) {
    if constexpr (std::is_integral_v<decltype(x)>) {
      return static_cast<int16_t>(x);
    } else {
      typedef int16_t lanes __attribute__((vector_size(sizeof(x))));
      return (lanes)x;
    }
  }

  static auto as_mask(auto condition) {
    if constexpr (std::is_same_v<decltype(condition), bool>) {
      return static_cast<int16_t>(-condition);
    } else {
      return condition;
    }
  }
};
template <>
struct Element<BFloat16> : BitsElement<0x7f80> {};
template <>
struct Element<Half> : BitsElement<0x7c00> {};

template <typename scalar_t>
using element_t = typename Element<scalar_t>::type;

// The key of an element: its number, or a signed integer where elements are bits.
template <typename element>
using key_t = std::conditional_t<std::is_same_v<element, uint16_t>, int16_t, element>;

// Offsets travel through a vector loop in lanes as wide as the values beside them. Offsets of more than 256 taps do not
// fit beside 16-bit values: such windows go one by one.
template <typename value_t, typename offset_t>
using offset_lane_t = std::conditional_t<sizeof(value_t) == 2 && sizeof(offset_t) != 1, int32_t, signed_t<value_t>>;

// Lanes of one vector register, and how many registers `lanes` of them fill.
template <typename T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));
template <typename T>
constexpr int vectors_in(int lanes) {
  return lanes > kLanes<T> ? lanes / kLanes<T> : 1;
}

// for_chunks for loops over values and their offsets, first `vectors` registers at a time as far as they reach, then
// one by one. Only windows of up to 256 taps get code for every width.
template <typename value_t, typename offset_t, int vectors = 1, typename Body>
void for_offset_chunks(int64_t n, const Body& body) {
  constexpr bool common = sizeof(offset_t) == 1;
  constexpr bool fits = sizeof(offset_lane_t<value_t, offset_t>) == sizeof(value_t);
  int64_t i = 0;
  if constexpr (vectors > 1 && common) {
    constexpr int width = vectors * kLanes<value_t>;
    for (; i + width <= n; i += width) body(std::integral_constant<int, width>{}, i);
  }
  if (i < n) for_chunks<fits ? kLanes<value_t> : 1, common>(n, body, i);
}

// Pointers to the elements of a tensor.
template <typename scalar_t>
const element_t<scalar_t>* elements(const Tensor& tensor) {
  return static_cast<const element_t<scalar_t>*>(tensor.const_data_ptr());
}
template <typename scalar_t>
element_t<scalar_t>* mutable_elements(const Tensor& tensor) {
  return static_cast<element_t<scalar_t>*>(tensor.mutable_data_ptr());
}

}  // namespace wwae

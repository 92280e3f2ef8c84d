// From run-time dtypes to C++ types.
#pragma once

#include <cstdint>
#include <type_traits>

#include "checks.h"
#include "stable.h"

namespace wwae {

// Carries a type into a generic lambda: `[&](auto tag) { using scalar_t = typename decltype(tag)::type; }`.
template <typename T>
struct TypeTag {
  using type = T;
};

// Sums of a low-precision dtype are accumulated in float32, all others in their own dtype.
template <typename scalar_t>
using accumulate_t =
    std::conditional_t<std::is_same_v<scalar_t, BFloat16> || std::is_same_v<scalar_t, Half>, float, scalar_t>;

// Smallest dtype that holds every offset 0 .. taps - 1 of a window.
inline ScalarType offset_dtype(int64_t taps) {
  if (taps <= 256) return ScalarType::Byte;
  if (taps <= 32768) return ScalarType::Short;
  return ScalarType::Int;
}

// Calls `body(TypeTag<scalar_t>)` for a floating dtype, raises for any other.
template <typename Body>
decltype(auto) dispatch_floating(const char* op, const Tensor& x, const Body& body) {
  switch (x.scalar_type()) {
    case ScalarType::Float:
      return body(TypeTag<float>{});
    case ScalarType::Double:
      return body(TypeTag<double>{});
    case ScalarType::BFloat16:
      return body(TypeTag<BFloat16>{});
    case ScalarType::Half:
      return body(TypeTag<Half>{});
    default:
      fail(op, ": expected x of dtype float32, float64, bfloat16 or float16, got ", dtype_name(x.scalar_type()));
  }
}

// Calls `body(TypeTag<offset_t>)` for the dtype of `offsets` (see offset_dtype), raises for any other.
template <typename Body>
decltype(auto) dispatch_offset(const char* op, ScalarType dtype, const Body& body) {
  switch (dtype) {
    case ScalarType::Byte:
      return body(TypeTag<uint8_t>{});
    case ScalarType::Short:
      return body(TypeTag<int16_t>{});
    case ScalarType::Int:
      return body(TypeTag<int32_t>{});
    default:
      fail(op, ": expected offsets of dtype uint8, int16 or int32, got ", dtype_name(dtype));
  }
}

}  // namespace wwae

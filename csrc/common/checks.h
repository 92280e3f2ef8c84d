// Argument checks shared by the CPU and CUDA host functions. The Python wrappers have already checked with the same
// words and PyTorch's exception classes; these guard memory for direct callers of torch.ops.wwae. Each raises a
// RuntimeError whose text is `<op>: expected <argument> <rule>, got <value>`.
#pragma once

#include <cstdint>
#include <limits>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "geometry.h"
#include "stable.h"

namespace wwae {

template <typename... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw std::runtime_error(text.str());
}

template <typename... Parts>
void check(bool condition, const Parts&... parts) {
  if (!condition) fail(parts...);
}

using Ints = torch::headeronly::IntHeaderOnlyArrayRef;

// Numbers that become text, "[2, 64, 16, 16]", only when they are printed: the checks below run in every call.
struct Listed {
  Ints numbers;

  friend std::ostream& operator<<(std::ostream& text, const Listed& list) {
    text << '[';
    for (size_t i = 0; i < list.numbers.size(); ++i) text << (i == 0 ? "" : ", ") << list.numbers[i];
    return text << ']';
  }
};

inline Listed listed(Ints numbers) { return {numbers}; }

// The name Python users know: "float32", not "Float".
inline const char* dtype_name(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Float:
      return "float32";
    case ScalarType::Double:
      return "float64";
    case ScalarType::BFloat16:
      return "bfloat16";
    case ScalarType::Half:
      return "float16";
    case ScalarType::Byte:
      return "uint8";
    case ScalarType::Char:
      return "int8";
    case ScalarType::Short:
      return "int16";
    case ScalarType::Int:
      return "int32";
    case ScalarType::Long:
      return "int64";
    case ScalarType::Bool:
      return "bool";
    default:
      return torch::headeronly::toString(dtype);
  }
}

inline void check_4d(const char* op, const char* argument, const Tensor& tensor) {
  check(tensor.dim() == 4, op, ": expected ", argument, " with 4 dimensions (N, C, H, W), got shape ",
        listed(tensor.sizes()));
}

inline void check_dtype(const char* op, const char* argument, const Tensor& tensor, ScalarType dtype) {
  check(tensor.scalar_type() == dtype, op, ": expected ", argument, " of dtype ", dtype_name(dtype), ", got ",
        dtype_name(tensor.scalar_type()));
}

inline void check_shape(const char* op, const char* argument, const Tensor& tensor, Ints expected) {
  check(tensor.sizes().equals(expected), op, ": expected ", argument, " of shape ", listed(expected), ", got ",
        listed(tensor.sizes()));
}

inline void check_same_device(const char* op, const char* argument, const Tensor& tensor, const Tensor& x) {
  check(tensor.device() == x.device(), op, ": expected ", argument, " on the device of x, got another device");
}

// One number a channel of x (N, C, H, W), in the dtype of x or, for a 16-bit x, in float32.
inline void check_parameter(const char* op, const char* argument, const Tensor& parameter, const Tensor& x) {
  check_shape(op, argument, parameter, {x.size(1)});
  check_same_device(op, argument, parameter, x);
  const ScalarType given = parameter.scalar_type();
  const bool narrow = x.scalar_type() == ScalarType::BFloat16 || x.scalar_type() == ScalarType::Half;
  check(given == x.scalar_type() || (narrow && given == ScalarType::Float), op, ": expected ", argument, " of dtype ",
        dtype_name(x.scalar_type()), narrow ? " or float32" : "", ", got ", dtype_name(given));
}

// Both entries of `pair` are at least `minimum` and small enough that no product of two of them overflows.
inline void check_pair(const char* op, const char* argument, const Pair& pair, int64_t minimum) {
  constexpr int64_t maximum = std::numeric_limits<int32_t>::max();
  check(pair.size() == 2, op, ": expected ", argument, " with 2 values (height, width), got ", listed(pair));
  for (const int64_t value : pair) {
    check(value >= minimum && value <= maximum, op, ": expected ", argument, " between ", minimum, " and ", maximum,
          ", got ", listed(pair));
  }
}

inline void check_window(const char* op, const Pair& kernel_size, const Pair& stride, const Pair& padding,
                         const Pair& dilation) {
  check_pair(op, "kernel_size", kernel_size, 1);
  check_pair(op, "stride", stride, 1);
  check_pair(op, "padding", padding, 0);
  check_pair(op, "dilation", dilation, 1);
  check(kernel_size[0] * kernel_size[1] <= std::numeric_limits<int32_t>::max(), op,
        ": expected kernel_size with at most 2^31 - 1 taps, got ", listed(kernel_size));
}

// Geometry of a pooling over a map of `shape` (N, C, H, W), which messages call `map`. Raises when an output axis would
// be empty, as PyTorch does, or when padding exceeds half a window.
inline Geometry pool_geometry(const char* op, const char* map, Ints shape, const Pair& kernel_size, const Pair& stride,
                              const Pair& padding, const Pair& dilation, bool ceil_mode) {
  check_window(op, kernel_size, stride, padding, dilation);
  Axis axes[2];
  for (int i = 0; i < 2; ++i) {
    const int64_t input = shape[2 + i];
    check(input > 0, op, ": expected ", map, " with non-empty spatial axes, got shape ", listed(shape));
    const int64_t extent = (kernel_size[i] - 1) * dilation[i] + 1;
    check(2 * padding[i] <= extent, op, ": expected padding of at most half the window extent, got padding ",
          listed(padding), " for kernel_size ", listed(kernel_size), " and dilation ", listed(dilation));
    const int64_t output = window_count(input, kernel_size[i], stride[i], padding[i], dilation[i], ceil_mode);
    check(output > 0, op, ": expected ", map, " large enough for one window of kernel_size ", listed(kernel_size),
          ", got shape ", listed(shape));
    axes[i] = {input, output, kernel_size[i], stride[i], padding[i], dilation[i]};
  }
  return {axes[0], axes[1]};
}

inline Geometry pool_geometry(const char* op, const Tensor& x, const Pair& kernel_size, const Pair& stride,
                              const Pair& padding, const Pair& dilation, bool ceil_mode) {
  return pool_geometry(op, "x", x.sizes(), kernel_size, stride, padding, dilation, ceil_mode);
}

// Geometry of unpooling `windows` (its last two axes count the windows) to a map of `output_size`.
inline Geometry unpool_geometry(const char* op, const Tensor& windows, const Pair& kernel_size, const Pair& stride,
                                const Pair& padding, const Pair& dilation, const Pair& output_size) {
  check_window(op, kernel_size, stride, padding, dilation);
  check_pair(op, "output_size", output_size, 0);
  Axis axes[2];
  for (int i = 0; i < 2; ++i) {
    axes[i] = {output_size[i], windows.size(2 + i), kernel_size[i], stride[i], padding[i], dilation[i]};
  }
  return {axes[0], axes[1]};
}

inline Overlap parse_overlap(const char* op, const std::string& overlap) {
  if (overlap == "last") return Overlap::last;
  if (overlap == "sum") return Overlap::sum;
  if (overlap == "mean") return Overlap::mean;
  fail(op, ": expected overlap to be 'last', 'sum' or 'mean', got '", overlap, "'");
}

}  // namespace wwae

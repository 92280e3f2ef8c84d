// What the host functions of the fused convolutions share: checks, and the way from tensors to a Convolution. A message
// that begins with "<op>: the CUDA kernel takes" refuses what the operation allows and only this kernel does not.
#pragma once

#include <algorithm>
#include <limits>
#include <optional>

#include "common/parameters.h"
#include "cuda/implicit_gemm.cuh"
#include "cuda/launch.cuh"

namespace wwae {

// Calls `body(TypeTag<scalar_t>{})` for a dtype that tensor cores multiply and add up in float32.
template <typename Body>
void dispatch_half(const char* op, const Tensor& x, const Body& body) {
  switch (x.scalar_type()) {
    case ScalarType::BFloat16:
      return body(TypeTag<__nv_bfloat16>{});
    case ScalarType::Half:
      return body(TypeTag<__half>{});
    default:
      fail(op, ": the CUDA kernel takes x of dtype bfloat16 or float16, got ", dtype_name(x.scalar_type()));
  }
}

inline void check_half(const char* op, const Tensor& x) {
  dispatch_half(op, x, [](auto) {});
}

// `weight` (O, C, KH, KW) for a map with the channels of x.
inline void check_weight(const char* op, const Tensor& weight, const std::optional<Tensor>& bias, const Tensor& x) {
  check_4d(op, "weight", weight);
  check_shape(op, "weight", weight, {weight.size(0), x.size(1), weight.size(2), weight.size(3)});
  check_dtype(op, "weight", weight, x.scalar_type());
  check_same_device(op, "weight", weight, x);
  if (!bias.has_value()) return;
  check_shape(op, "bias", *bias, {weight.size(0)});
  check_same_device(op, "bias", *bias, x);
  if (bias->scalar_type() != ScalarType::Float) check_dtype(op, "bias", *bias, x.scalar_type());
}

// Pixels of maps of `size` (H, W) are counted in 32 bits.
inline void check_pixels(const char* op, int64_t images, const Pair& size) {
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  const bool fits =
      images <= most && size[0] <= most && size[1] <= most && (size[1] == 0 || images * size[0] <= most / size[1]);
  check(fits, op, ": the CUDA kernel takes maps of fewer than 2^31 pixels, got ", images, " of ", listed(size));
}

// Stride 1, dilation 1 and one group, of a map of `size` (H, W) with `channels`. Raises where no position is left, and
// for kernels whose patch has no room in shared memory.
inline Convolution plan_convolution(const char* op, int64_t images, int64_t channels, const Pair& size, int64_t outputs,
                                    const Pair& kernel_size, const Pair& padding) {
  check_pair(op, "conv_kernel_size", kernel_size, 1);
  check_pair(op, "conv_padding", padding, 0);
  for (int i = 0; i < 2; ++i) {
    check(size[i] + 2 * padding[i] >= kernel_size[i], op, ": expected a map of at least ", listed(kernel_size),
          " with conv_padding ", listed(padding), ", got ", listed(size));
  }
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  check_pixels(op, images, {size[0] + 2 * padding[0], size[1] + 2 * padding[1]});
  check(std::max(channels, outputs) <= most - kTileOutputs, op,
        ": the CUDA kernel takes fewer than 2^31 channels, got ", channels, " and ", outputs);
  const auto narrow = [](int64_t number) { return static_cast<int32_t>(number); };
  const Convolution conv = {narrow(images),         narrow(size[0]),    narrow(size[1]),
                            narrow(channels),       narrow(outputs),    narrow(kernel_size[0]),
                            narrow(kernel_size[1]), narrow(padding[0]), narrow(padding[1])};
  const bool fits =
      kernel_size[0] <= kMostTaps && kernel_size[1] <= kMostTaps && gemm_shared_bytes(conv) <= kMostGemmShared;
  check(fits, op, ": the CUDA kernel takes weights of at most ", kMostTaps, " x ", kMostTaps, " taps, got ",
        listed(kernel_size));
  return conv;
}

// The geometry of unpooling `x` (N, C, OH, OW) to `output_size`. Raises for windows of more than 256 taps.
inline Geometry check_unpooled(const char* op, const Tensor& x, const Tensor& offsets, const Pair& kernel_size,
                               const Pair& stride, const Pair& padding, const Pair& dilation, const Pair& output_size) {
  check_shape(op, "offsets", offsets, x.sizes());
  check_same_device(op, "offsets", offsets, x);
  const Geometry geometry = unpool_geometry(op, x, kernel_size, stride, padding, dilation, output_size);
  check_dtype(op, "offsets", offsets, offset_dtype(geometry.taps()));
  check_pixels(op, x.size(0), {x.size(2), x.size(3)});
  check(geometry.taps() <= 256, op, ": the CUDA kernel takes windows of at most 256 taps, got kernel_size ",
        listed(kernel_size));
  return geometry;
}

// Of `bias` (O) in float32, null for none; what it points into stays alive in `kept`.
inline const float* float_bias(const std::optional<Tensor>& bias, std::optional<Tensor>& kept) {
  if (!bias.has_value()) return nullptr;
  kept = parameter_as(*bias, ScalarType::Float);
  return elements<float>(*kept);
}

inline Tensor channels_last(const Tensor& tensor) { return with_layout(tensor, MemoryFormat::ChannelsLast); }

}  // namespace wwae

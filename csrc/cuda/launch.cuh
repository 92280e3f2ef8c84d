// What the host functions of all .cu files share: the launch itself, and the way from tensors to kernel arguments.
#pragma once

#include <cuda_runtime.h>

#include <limits>
#include <type_traits>

#include "common/checks.h"
#include "common/dtype.h"
#include "common/geometry.h"
#include "common/stable.h"
#include "cuda/tile.cuh"
#include "cuda/vector.cuh"

namespace wwae {

// Launches a kernel on a stream: over a tiling, which is the kernel's last argument, or as so many blocks.
struct CudaLaunch {
  cudaStream_t stream;

  template <typename... Parameters, typename... Arguments>
  void operator()(void (*kernel)(Parameters...), const Tiling& tiling, const Arguments&... arguments) const {
    check_blocks(tiling.blocks);
    kernel<<<static_cast<unsigned>(tiling.blocks), dim3(tiling.block_columns, tiling.block_rows), 0, stream>>>(
        arguments..., tiling);
    WWAE_CUDA_LAUNCH_CHECK();
  }

  template <typename... Parameters, typename... Arguments>
  void operator()(void (*kernel)(Parameters...), const Blocks& blocks, const Arguments&... arguments) const {
    check_blocks(blocks.count);
    constexpr int without_asking = 48 * 1024;  // more shared memory is given to those who ask for it
    if (blocks.shared_bytes > without_asking) {
      STD_CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                          cudaFuncAttributeMaxDynamicSharedMemorySize, blocks.shared_bytes));
    }
    kernel<<<static_cast<unsigned>(blocks.count), dim3(blocks.columns, blocks.rows), blocks.shared_bytes, stream>>>(
        arguments...);
    WWAE_CUDA_LAUNCH_CHECK();
  }

 private:
  static void check_blocks(int64_t blocks) {
    constexpr int64_t most = std::numeric_limits<int32_t>::max();  // of grid x, on every architecture
    check(blocks <= most, "wwae: expected a map of at most ", most, " blocks of threads, got ", blocks);
  }
};

inline CudaLaunch launch_on_device_of(const Tensor& tensor) {
  return {static_cast<cudaStream_t>(current_cuda_stream(tensor))};
}

// The kernel's type for a dtype of PyTorch.
template <typename scalar_t>
using device_t = std::conditional_t<std::is_same_v<scalar_t, BFloat16>, __nv_bfloat16,
                                    std::conditional_t<std::is_same_v<scalar_t, Half>, __half, scalar_t>>;

template <typename T>
const T* elements(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

template <typename T>
T* mutable_elements(const Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

// The kernels' view of (N, C, H, W): see tile.cuh.
struct Interleaving {
  int64_t images;
  int64_t channels;
};

inline Interleaving interleaving(const Tensor& x, MemoryFormat layout) {
  if (layout == MemoryFormat::ChannelsLast) return {x.size(0), x.size(1)};
  return {x.size(0) * x.size(1), 1};
}

// Kernels keep positions on an axis in 32 bits, also those of taps in the padding.
inline Geometry32 narrow(const char* op, const Geometry& geometry) {
  for (const Axis& axis : {geometry.h, geometry.w}) {
    constexpr int64_t most = std::numeric_limits<int32_t>::max();
    const int64_t furthest = axis.input + axis.output * axis.stride + 2 * axis.padding + axis.extent();
    check(furthest <= most, op, ": expected axes of fewer than 2^31 positions on CUDA, got ", furthest);
  }
  return geometry.as<int32_t>();
}

// Calls `body(TypeTag<word>{})` for the unsigned integer of an element's size: for operations that only move data.
template <typename Body>
void dispatch_words(const char* op, const Tensor& x, const Body& body) {
  dispatch_floating(op, x, [&](auto tag) { body(TypeTag<word_t<typename decltype(tag)::type>>{}); });
}

}  // namespace wwae

// The one header that spells PyTorch's stable ABI (target: 2.11, see TORCH_TARGET_VERSION in setup.py). Every other
// file uses the names below, so a change of that ABI is a change here.
#pragma once

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/macros.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/MemoryFormat.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

namespace wwae {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

using BFloat16 = torch::headeronly::BFloat16;
using Half = torch::headeronly::Half;

using Pair = std::vector<int64_t>;  // a SymInt[2] argument: (height, width)
using Sizes = std::vector<int64_t>;  // a shape

inline Sizes sizes_of(const Tensor& tensor) { return Sizes(tensor.sizes().begin(), tensor.sizes().end()); }

// Layout rule of every operation: the first input decides, the other inputs and all outputs follow. Channels-last when
// neighbouring channels are neighbours in memory and neighbouring columns are not; strides alone tell, so a map of one
// pixel keeps its layout.
inline MemoryFormat memory_format_of(const Tensor& x) {
  const bool channels_last = x.size(1) > 1 && x.stride(1) == 1 && x.stride(3) >= x.size(1);
  return channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
}

// Dimensions from the fastest in memory to the slowest; only images (N, C, H, W) have the channels-last layout.
inline Sizes dimensions_by_stride(int64_t count, MemoryFormat memory_format) {
  if (memory_format == MemoryFormat::ChannelsLast) return {1, 3, 2, 0};
  Sizes dimensions(count);
  for (int64_t i = 0; i < count; ++i) dimensions[i] = count - 1 - i;
  return dimensions;
}

// Uninitialised memory on the device of `like`. Through the C interface: a call of aten::empty by its name takes longer
// than a small pooling.
inline Tensor allocate(const Sizes& size, ScalarType dtype, MemoryFormat memory_format, const Tensor& like) {
  const auto count = static_cast<int64_t>(size.size());
  Sizes strides(count);
  int64_t stride = 1;
  for (const int64_t dimension : dimensions_by_stride(count, memory_format)) {
    strides[dimension] = stride;
    stride *= size[dimension] > 0 ? size[dimension] : 1;
  }
  int32_t device = 0;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device));
  AtenTensorHandle tensor = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(
      count, size.data(), strides.data(), static_cast<int32_t>(dtype), device, like.get_device_index(), &tensor));
  return Tensor(tensor);
}

// Whether the elements stand in that order without gaps; the stride of a dimension of one element says nothing.
inline bool has_layout(const Tensor& tensor, MemoryFormat memory_format) {
  int64_t stride = 1;
  for (const int64_t dimension : dimensions_by_stride(tensor.dim(), memory_format)) {
    const int64_t size = tensor.size(dimension);
    if (size != 1 && tensor.stride(dimension) != stride) return false;
    stride *= size;
  }
  return true;
}

// The tensor itself when it already has that layout, else a copy.
inline Tensor with_layout(const Tensor& tensor, MemoryFormat memory_format) {
  return has_layout(tensor, memory_format) ? tensor : torch::stable::contiguous(tensor, memory_format);
}

// at::parallel_for: PyTorch's own threads, so torch.set_num_threads is respected. `body(begin, end)` must not throw.
template <typename Body>
void parallel_for(int64_t begin, int64_t end, int64_t grain_size, const Body& body) {
  torch::stable::parallel_for(begin, end, grain_size, body);
}

inline int64_t num_threads() { return torch::stable::get_num_threads(); }

#if defined(USE_CUDA)

using torch::stable::accelerator::DeviceGuard;

// The stream PyTorch currently uses on the device of `tensor`, a cudaStream_t.
inline void* current_cuda_stream(const Tensor& tensor) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
  return stream;
}

// Raises with the CUDA error text when the launch just before it failed. Needs <cuda_runtime.h>.
#define WWAE_CUDA_LAUNCH_CHECK() STD_CUDA_KERNEL_LAUNCH_CHECK()

#endif  // USE_CUDA

}  // namespace wwae

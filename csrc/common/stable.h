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

// aten::empty.memory_format(SymInt[] size, *, ScalarType? dtype, Layout? layout, Device? device, bool? pin_memory,
//                           MemoryFormat? memory_format) -> Tensor
// Uninitialised memory on the device of `like`.
inline Tensor allocate(const Sizes& size, ScalarType dtype, MemoryFormat memory_format, const Tensor& like) {
  return torch::stable::empty(size, dtype, std::nullopt, like.device(), std::nullopt, memory_format);
}

// aten::contiguous(Tensor(a) self, *, MemoryFormat memory_format) -> Tensor(a)
// The tensor itself when it already has that layout.
inline Tensor with_layout(const Tensor& tensor, MemoryFormat memory_format) {
  return torch::stable::contiguous(tensor, memory_format);
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

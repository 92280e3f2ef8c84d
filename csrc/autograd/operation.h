// An operation `wwae::<name>` as eager mode calls it: with arguments from Python, or with those of a derivative.
//
// Only plain calls are served: exact tensors, sizes that are numbers, no torch.func transform, no forward-mode
// derivative, no mode for torch functions. All others go to a Python function that was given for them.
#pragma once

#include <ATen/ATen.h>
#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <pybind11/pybind11.h>
#include <torch/csrc/autograd/python_variable.h>

#include <string>
#include <vector>

namespace wwae {

using at::Tensor;
using c10::IValue;
using Arguments = std::vector<IValue>;  // in the order of the schema

inline IValue pair(int64_t height, int64_t width) { return c10::List<int64_t>({height, width}); }

// Height and width of a map (N, C, H, W).
inline IValue spatial_size(const IValue& map) {
  const at::IntArrayRef sizes = map.toTensor().sizes();
  return pair(sizes[2], sizes[3]);
}

// The layout rule of every operation, as memory_format_of in common/stable.h.
inline at::MemoryFormat layout_of(const Tensor& x) {
  const bool channels_last = x.size(1) > 1 && x.stride(1) == 1 && x.stride(3) >= x.size(1);
  return channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
}

// Whether a tensor is one of torch.func's, or of the vmap behind `is_grads_batched`: these can't be asked for a layout.
inline bool is_wrapped(const Tensor& tensor) {
  const c10::DispatchKeySet keys = tensor.key_set();
  return keys.has(c10::DispatchKey::Batched) || keys.has(c10::DispatchKey::FuncTorchBatched) ||
         keys.has(c10::DispatchKey::FuncTorchGradWrapper);
}

// A gradient in the memory format of the offsets, so that it keeps the layout of the map that was pooled.
inline Tensor in_layout_of(const Tensor& grad, const Tensor& offsets) {
  return is_wrapped(grad) ? grad : grad.contiguous(layout_of(offsets));
}

class Operation {
 public:
  explicit Operation(const std::string& name);

  // What takes the calls that are not served here. The process keeps it.
  void set_fallback(pybind11::function fallback) { fallback_ = fallback.release().ptr(); }

  // Reads a plain call from Python; false where it is none.
  bool read(PyObject* const* objects, Py_ssize_t count, Arguments& arguments) const;

  // Whether a call with arguments from C++ is plain.
  static bool serves(const Arguments& arguments);

  // The implementation for the device of the tensors, below autograd; the arguments become the results.
  void run(Arguments& arguments) const {
    const at::AutoDispatchBelowAutograd below;
    handle_.callBoxed(arguments);
  }

  // The Python function, with arguments from Python, and from C++, which become the results.
  PyObject* run_fallback(PyObject* const* objects, Py_ssize_t count) const;
  void run_fallback(Arguments& arguments) const;

 private:
  c10::OperatorHandle handle_;
  std::vector<c10::TypeKind> kinds_;
  PyObject* fallback_ = nullptr;
};

}  // namespace wwae

// wwae._autograd: calls of the operations in eager mode, with their derivatives as nodes of PyTorch's graph in C++.
//
// The same formulas as in wwae/ops, which serve everything else: through Python a call and its backward take longer
// than the kernels need for a map of 13x13.
//
// This is the only part that uses the C++ interface of autograd, which is not of the stable ABI:
// wwae/_extension.py loads it for the PyTorch that it was built with, and for no other.
#include <map>

#include "autograd/fixed_unpooling.h"
#include "autograd/hard_pooling.h"
#include "autograd/relu_pooling.h"

namespace wwae {
namespace {

template <typename... Derivatives>
auto makers() {
  return std::map<std::string, decltype(&python_function<SwitchPool2dBackward>)>{
      {Derivatives::kOperation, &python_function<Derivatives>}...};
}

pybind11::object in_eager_mode(const std::string& operation, pybind11::function in_python, pybind11::object composed) {
  static const auto known = makers<SwitchPool2dBackward, SwitchUnpool2dBackward, SwitchGather2dBackward,
                                   MaxPool2dBackward, MaxUnpool2dBackward, MaxGather2dBackward, FixedUnpool2dBackward,
                                   BiasReLUPool2dBackward, BatchNormReLUPool2dBackward>();
  const auto found = known.find(operation);
  return found == known.end() ? in_python : found->second(std::move(in_python), std::move(composed));
}

}  // namespace
}  // namespace wwae

PYBIND11_MODULE(_autograd, module) {
  module.doc() = "Calls of operations in eager mode, with their derivatives in C++.";
  module.def(
      "in_eager_mode", &wwae::in_eager_mode, pybind11::arg("operation"), pybind11::arg("in_python"),
      pybind11::arg("composed_backward"),
      R"doc(The function that calls an operation in eager mode: in C++ where this module has it, else `in_python`.

It takes positional arguments. Every call that is not plain goes to `in_python`: subclasses of Tensor, symbolic sizes,
torch.func transforms, forward-mode derivatives, modes for torch functions. `composed_backward` takes the arguments of
`<operation>_backward` where a second derivative may be asked for; None for operations that have no such backward.)doc");
}

// A differentiable operation as a function of Python.
//
// A Derivative is a torch::autograd::Function whose `kOperation` names the operation. Its `forward` takes the leading
// `kInputs` arguments, which are differentiable, as tensors, and all arguments once more, which it makes the results;
// it returns the first of them, the only one that has a derivative.
#pragma once

#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <string>
#include <utility>

#include "autograd/operation.h"

namespace wwae {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

template <typename Derivative>
Operation& operation_of() {
  static Operation operation(Derivative::kOperation);
  return operation;
}

template <typename Derivative, size_t... input>
Tensor apply(Arguments& arguments, std::index_sequence<input...>) {
  const std::array<Tensor, sizeof...(input)> inputs = {arguments[input].toTensor()...};
  return Derivative::apply(inputs[input]..., arguments);
}

// What backward gets besides tensors: a list, because compiled autograd takes no tuple that holds lists.
inline void keep_constants(AutogradContext* context, const Arguments& constants) {
  c10::impl::GenericList list(c10::AnyType::get());
  for (const IValue& constant : constants) list.push_back(constant);
  context->saved_data["constants"] = std::move(list);
}

inline void append_constants(AutogradContext* context, Arguments& arguments) {
  for (const IValue& constant : context->saved_data["constants"].toListRef()) arguments.push_back(constant);
}

// Runs a plain call, with a node where a gradient may be asked for; the arguments become the results.
template <typename Derivative>
void run(Arguments& arguments) {
  bool wanted = false;
  for (size_t i = 0; i < Derivative::kInputs; ++i) wanted |= arguments[i].toTensor().requires_grad();
  if (wanted && at::GradMode::is_enabled()) {
    const Tensor result = apply<Derivative>(arguments, std::make_index_sequence<Derivative::kInputs>{});
    arguments[0] = result;
  } else {
    operation_of<Derivative>().run(arguments);
  }
}

// A call from a derivative, of which the first result is given.
template <typename Derivative>
Tensor call(Arguments arguments) {
  if (Operation::serves(arguments)) {
    run<Derivative>(arguments);
  } else {
    operation_of<Derivative>().run_fallback(arguments);
  }
  return arguments[0].toTensor();
}

template <typename Derivative>
PyObject* call_from_python(PyObject* /*module*/, PyObject* const* objects, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  const Operation& operation = operation_of<Derivative>();
  Arguments arguments;
  if (!operation.read(objects, count, arguments)) return operation.run_fallback(objects, count);
  {
    const pybind11::gil_scoped_release no_gil;
    run<Derivative>(arguments);
  }
  if (arguments.size() == 1) return THPVariable_Wrap(arguments[0].toTensor());
  pybind11::tuple results(arguments.size());
  for (size_t i = 0; i < arguments.size(); ++i) {
    results[i] = pybind11::reinterpret_steal<pybind11::object>(THPVariable_Wrap(arguments[i].toTensor()));
  }
  return results.release().ptr();
  END_HANDLE_TH_ERRORS
}

// The function of Python. What is no plain call goes to `in_python`; `composed_backward` serves where the fused
// backward of a Derivative that has one can't.
template <typename Derivative>
pybind11::object python_function(pybind11::function in_python, pybind11::object composed_backward) {
  static PyMethodDef definition = {
      Derivative::kOperation,
      reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&call_from_python<Derivative>)), METH_FASTCALL,
      nullptr};
  operation_of<Derivative>().set_fallback(std::move(in_python));
  if constexpr (requires { Derivative::backward_operation(); }) {
    Derivative::backward_operation().set_fallback(std::move(composed_backward));
  }
  return pybind11::reinterpret_steal<pybind11::object>(PyCFunction_New(&definition, nullptr));
}

}  // namespace wwae

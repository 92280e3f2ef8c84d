#include "autograd/operation.h"

namespace wwae {
namespace {

// Whether nothing but the dispatcher has to see a call.
bool plain_mode() {
  const c10::DispatchKeySet active = c10::impl::tls_local_dispatch_key_set().included_;
  return !active.has(c10::DispatchKey::FuncTorchDynamicLayerFrontMode) &&
         !active.has(c10::DispatchKey::FuncTorchDynamicLayerBackMode) && !at::impl::torch_function_mode_enabled();
}

bool is_plain(const Tensor& tensor) {
  return !is_wrapped(tensor) && !tensor.key_set().has(c10::DispatchKey::Python) && !tensor._fw_grad(0).defined();
}

bool read_tensor(PyObject* object, Arguments& arguments) {
  if (!THPVariable_CheckExact(object) || !is_plain(THPVariable_Unpack(object))) return false;
  arguments.emplace_back(THPVariable_Unpack(object));
  return true;
}

bool read_pair(PyObject* object, Arguments& arguments) {
  if (!PyTuple_CheckExact(object) || PyTuple_GET_SIZE(object) != 2) return false;
  int64_t sizes[2] = {};
  for (int i = 0; i < 2; ++i) {
    PyObject* size = PyTuple_GET_ITEM(object, i);
    int overflow = 0;
    if (!PyLong_CheckExact(size)) return false;
    sizes[i] = PyLong_AsLongLongAndOverflow(size, &overflow);
    if (overflow != 0) return false;
  }
  arguments.push_back(pair(sizes[0], sizes[1]));
  return true;
}

bool read_argument(PyObject* object, c10::TypeKind kind, Arguments& arguments) {
  switch (kind) {
    case c10::TypeKind::TensorType:
      return read_tensor(object, arguments);
    case c10::TypeKind::OptionalType:  // a tensor
      if (object != Py_None) return read_tensor(object, arguments);
      arguments.emplace_back();
      return true;
    case c10::TypeKind::ListType:  // two sizes
      return read_pair(object, arguments);
    case c10::TypeKind::BoolType:
      if (!PyBool_Check(object)) return false;
      arguments.emplace_back(object == Py_True);
      return true;
    case c10::TypeKind::FloatType:
      if (!PyFloat_CheckExact(object)) return false;
      arguments.emplace_back(PyFloat_AS_DOUBLE(object));
      return true;
    case c10::TypeKind::StringType:
      if (!PyUnicode_CheckExact(object)) return false;
      arguments.emplace_back(pybind11::cast<std::string>(object));
      return true;
    default:
      return false;
  }
}

pybind11::object written(const IValue& value) {
  if (value.isNone()) return pybind11::none();
  if (value.isTensor()) return pybind11::reinterpret_steal<pybind11::object>(THPVariable_Wrap(value.toTensor()));
  if (value.isBool()) return pybind11::bool_(value.toBool());
  if (value.isDouble()) return pybind11::float_(value.toDouble());
  if (value.isString()) return pybind11::str(value.toStringRef());
  const std::vector<int64_t> sizes = value.toIntVector();
  return pybind11::make_tuple(sizes.at(0), sizes.at(1));
}

}  // namespace

Operation::Operation(const std::string& name)
    : handle_(c10::Dispatcher::singleton().findSchemaOrThrow(("wwae::" + name).c_str(), "")) {
  for (const c10::Argument& argument : handle_.schema().arguments()) kinds_.push_back(argument.type()->kind());
}

bool Operation::read(PyObject* const* objects, Py_ssize_t count, Arguments& arguments) const {
  if (!plain_mode() || static_cast<size_t>(count) != kinds_.size()) return false;
  arguments.reserve(count);
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (!read_argument(objects[i], kinds_[i], arguments)) return false;
  }
  return true;
}

bool Operation::serves(const Arguments& arguments) {
  if (!plain_mode()) return false;
  for (const IValue& argument : arguments) {
    if (argument.isTensor() && !is_plain(argument.toTensor())) return false;
  }
  return true;
}

PyObject* Operation::run_fallback(PyObject* const* objects, Py_ssize_t count) const {
  return PyObject_Vectorcall(fallback_, objects, count, nullptr);
}

void Operation::run_fallback(Arguments& arguments) const {
  const pybind11::gil_scoped_acquire gil;
  pybind11::tuple objects(arguments.size());
  for (size_t i = 0; i < arguments.size(); ++i) objects[i] = written(arguments[i]);
  const pybind11::object result = pybind11::reinterpret_borrow<pybind11::object>(fallback_)(*objects);
  const auto results = pybind11::isinstance<pybind11::tuple>(result)
                           ? pybind11::reinterpret_borrow<pybind11::tuple>(result)
                           : pybind11::make_tuple(result);
  arguments.clear();
  for (const pybind11::handle each : results) arguments.emplace_back(THPVariable_Unpack(each.ptr()));
}

}  // namespace wwae

// Hard pooling and unpooling: each derivative is the call of another of these operations, so they can be differentiated
// again and again.
#pragma once

#include "autograd/differentiable.h"

namespace wwae {

// What backward needs of a call: the offsets or indices, and what follows them in the call of the derivative.
struct Kept {
  Tensor switches;
  Arguments constants;
};

// A subclass names the operation and the one that its derivative calls (Transposed), says what that needs (keep), and
// whether it takes the gradient in the layout of the switches (kInTheirLayout).
template <typename Derivative>
struct HardPooling : torch::autograd::Function<Derivative> {
  static constexpr size_t kInputs = 1;

  static Tensor forward(AutogradContext* context, const Tensor& /*x*/, Arguments& arguments) {
    const Arguments given = arguments;
    operation_of<Derivative>().run(arguments);
    const Kept kept = Derivative::keep(given, arguments);
    context->save_for_backward({kept.switches});
    keep_constants(context, kept.constants);
    context->set_materialize_grads(false);
    return arguments[0].toTensor();
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    if (!grads[0].defined()) return {Tensor(), Tensor()};
    const Tensor switches = context->get_saved_variables()[0];
    Arguments arguments = {Derivative::kInTheirLayout ? in_layout_of(grads[0], switches) : grads[0], switches};
    append_constants(context, arguments);
    return {call<typename Derivative::Transposed>(std::move(arguments)), Tensor()};
  }
};

}  // namespace wwae

// Outside of namespaces, because the names of these are what `print(tensor)` shows as grad_fn.

struct SwitchUnpool2dBackward;
struct MaxUnpool2dBackward;

struct SwitchPool2dBackward : wwae::HardPooling<SwitchPool2dBackward> {
  static constexpr const char* kOperation = "switch_pool2d";
  static constexpr bool kInTheirLayout = true;
  using Transposed = SwitchUnpool2dBackward;

  static wwae::Kept keep(const wwae::Arguments& given, const wwae::Arguments& results) {
    return {results.back().toTensor(), {given[1], given[2], given[3], given[4], wwae::spatial_size(given[0]), "sum"}};
  }
};

struct MaxPool2dBackward : wwae::HardPooling<MaxPool2dBackward> {
  static constexpr const char* kOperation = "max_pool2d";
  static constexpr bool kInTheirLayout = true;
  using Transposed = SwitchUnpool2dBackward;

  static wwae::Kept keep(const wwae::Arguments& given, const wwae::Arguments& results) {
    return SwitchPool2dBackward::keep(given, results);
  }
};

struct SwitchGather2dBackward : wwae::HardPooling<SwitchGather2dBackward> {
  static constexpr const char* kOperation = "switch_gather2d";
  static constexpr bool kInTheirLayout = true;
  using Transposed = SwitchUnpool2dBackward;

  static wwae::Kept keep(const wwae::Arguments& given, const wwae::Arguments& /*results*/) {
    return {given[1].toTensor(), {given[2], given[3], given[4], given[5], wwae::spatial_size(given[0]), given[6]}};
  }
};

struct SwitchUnpool2dBackward : wwae::HardPooling<SwitchUnpool2dBackward> {
  static constexpr const char* kOperation = "switch_unpool2d";
  static constexpr bool kInTheirLayout = true;
  using Transposed = SwitchGather2dBackward;

  static wwae::Kept keep(const wwae::Arguments& given, const wwae::Arguments& /*results*/) {
    return {given[1].toTensor(), {given[2], given[3], given[4], given[5], given[7]}};
  }
};

struct MaxGather2dBackward : wwae::HardPooling<MaxGather2dBackward> {
  static constexpr const char* kOperation = "max_gather2d";
  static constexpr bool kInTheirLayout = false;
  using Transposed = MaxUnpool2dBackward;

  static wwae::Kept keep(const wwae::Arguments& given, const wwae::Arguments& /*results*/) {
    return {given[1].toTensor(), {wwae::spatial_size(given[0])}};
  }
};

struct MaxUnpool2dBackward : wwae::HardPooling<MaxUnpool2dBackward> {
  static constexpr const char* kOperation = "max_unpool2d";
  static constexpr bool kInTheirLayout = false;
  using Transposed = MaxGather2dBackward;

  static wwae::Kept keep(const wwae::Arguments& given, const wwae::Arguments& /*results*/) {
    return {given[1].toTensor(), {}};
  }
};

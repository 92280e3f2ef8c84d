// Unpooling at one fixed tap of every window: linear, and its transpose is a strided slice.
#pragma once

#include "autograd/differentiable.h"

// Outside of namespaces, because its name is what `print(tensor)` shows as grad_fn.
struct FixedUnpool2dBackward : torch::autograd::Function<FixedUnpool2dBackward> {
  static constexpr const char* kOperation = "fixed_unpool2d";
  static constexpr size_t kInputs = 1;

  static at::Tensor forward(wwae::AutogradContext* context, const at::Tensor& /*x*/, wwae::Arguments& arguments) {
    wwae::keep_constants(context, {arguments[1], arguments[2], wwae::spatial_size(arguments[0])});
    wwae::operation_of<FixedUnpool2dBackward>().run(arguments);
    context->set_materialize_grads(false);
    return arguments[0].toTensor();
  }

  // The gradient at the fixed tap of each window, 0 for a tap outside the map.
  static wwae::variable_list backward(wwae::AutogradContext* context, const wwae::variable_list& grads) {
    if (!grads[0].defined()) return {at::Tensor(), at::Tensor()};
    const auto constants = context->saved_data["constants"].toListRef();
    const auto stride = constants[0].toIntVector(), position = constants[1].toIntVector();
    const auto windows = constants[2].toIntVector();
    at::Tensor taps = grads[0];
    int64_t missing[2];
    for (int axis = 0; axis < 2; ++axis) {
      const int64_t end = position[axis] + (windows[axis] - 1) * stride[axis] + 1;
      taps = taps.slice(2 + axis, position[axis], end, stride[axis]);
      missing[axis] = windows[axis] - taps.size(2 + axis);
    }
    if (missing[0] > 0 || missing[1] > 0) {
      taps = at::constant_pad_nd(taps, {0, missing[1], 0, missing[0]}, 0);
    } else {
      taps = taps.clone(wwae::is_wrapped(taps) ? at::MemoryFormat::Preserve : wwae::layout_of(grads[0]));
    }
    return {taps, at::Tensor()};
  }
};

// Pooling after bias or batch norm and ReLU. Backward is one fused operation, `<operation>_backward`, which has no
// derivative; where one may be asked for, the Python function that was given for it, with the same arguments, composes
// the gradients of operations that have derivatives.
#pragma once

#include "autograd/differentiable.h"

namespace wwae {

// A subclass names the operations (kOperation, kBackward), keeps what backward needs (keep), and makes the arguments of
// the latter (arguments).
template <typename Derivative, size_t inputs>
struct ReLUPooling : torch::autograd::Function<Derivative> {
  static constexpr size_t kInputs = inputs;

  static Operation& backward_operation() {
    static Operation operation(Derivative::kBackward);
    return operation;
  }

  template <typename... Inputs>
  static Tensor run_forward(AutogradContext* context, Arguments& arguments, const Inputs&... differentiable) {
    static_assert(sizeof...(Inputs) == kInputs);
    const Arguments given = arguments;
    operation_of<Derivative>().run(arguments);
    Derivative::keep(context, given, arguments);
    context->saved_data["dtypes"] = c10::List<int64_t>({static_cast<int64_t>(differentiable.scalar_type())...});
    context->set_materialize_grads(false);
    return arguments[0].toTensor();
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    variable_list results(kInputs + 1);  // the last one stands for the arguments as a whole
    if (!grads[0].defined()) return results;
    Arguments arguments = Derivative::arguments(grads[0], context->get_saved_variables());
    append_constants(context, arguments);
    if (!at::GradMode::is_enabled() && Operation::serves(arguments)) {
      backward_operation().run(arguments);
    } else {
      backward_operation().run_fallback(arguments);
    }
    const std::vector<int64_t> dtypes = context->saved_data["dtypes"].toIntVector();
    for (size_t i = 0; i < kInputs; ++i) {
      results[i] = arguments[i].toTensor().to(static_cast<at::ScalarType>(dtypes[i]));
    }
    return results;
  }
};

}  // namespace wwae

// Outside of namespaces, because the names of these are what `print(tensor)` shows as grad_fn.

struct BiasReLUPool2dBackward : wwae::ReLUPooling<BiasReLUPool2dBackward, 2> {
  static constexpr const char* kOperation = "bias_relu_pool2d";
  static constexpr const char* kBackward = "bias_relu_pool2d_backward";

  static at::Tensor forward(wwae::AutogradContext* context, const at::Tensor& x, const at::Tensor& bias,
                            wwae::Arguments& arguments) {
    return run_forward(context, arguments, x, bias);
  }

  static void keep(wwae::AutogradContext* context, const wwae::Arguments& given, const wwae::Arguments& results) {
    context->save_for_backward({results[0].toTensor(), results[1].toTensor()});
    wwae::keep_constants(context, {given[2], given[3], given[4], given[5], wwae::spatial_size(given[0])});
  }

  static wwae::Arguments arguments(const at::Tensor& grad, const wwae::variable_list& kept) {
    return {wwae::in_layout_of(grad, kept[1]), kept[0], kept[1]};
  }
};

struct BatchNormReLUPool2dBackward : wwae::ReLUPooling<BatchNormReLUPool2dBackward, 3> {
  static constexpr const char* kOperation = "batch_norm_relu_pool2d";
  static constexpr const char* kBackward = "batch_norm_relu_pool2d_backward";

  static at::Tensor forward(wwae::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, wwae::Arguments& arguments) {
    return run_forward(context, arguments, x, weight, bias);
  }

  static void keep(wwae::AutogradContext* context, const wwae::Arguments& given, const wwae::Arguments& results) {
    context->save_for_backward({results[0].toTensor(), results[1].toTensor(), given[0].toTensor(),
                                results[2].toTensor(), results[3].toTensor(), given[1].toTensor()});
    const bool training = given[3].isNone();
    wwae::keep_constants(context, {training, given[5], given[6], given[7], given[8], given[9]});
  }

  static wwae::Arguments arguments(const at::Tensor& grad, const wwae::variable_list& kept) {
    return {wwae::in_layout_of(grad, kept[1]), kept[0], kept[1], kept[2], kept[3], kept[4], kept[5]};
  }
};

// bias_relu_pool2d_backward on CUDA: the gradients of the map (N, C, H, W) and of the bias (C). Kernels in
// bias_relu_pool2d_backward.cuh.
#include "common/parameters.h"
#include "common/relu_pool.h"
#include "cuda/bias_relu_pool2d_backward.cuh"
#include "cuda/launch.cuh"

namespace wwae {
namespace {

std::tuple<Tensor, Tensor> bias_relu_pool2d_backward_cuda(const Tensor& grad, const Tensor& values,
                                                          const Tensor& offsets, const Pair& kernel_size,
                                                          const Pair& stride, const Pair& padding, const Pair& dilation,
                                                          const Pair& input_size) {
  constexpr const char* op = "bias_relu_pool2d_backward";
  const Geometry geometry =
      check_relu_pool_backward(op, grad, values, offsets, kernel_size, stride, padding, dilation, input_size);
  const Geometry32 g = narrow(op, geometry);
  const DeviceGuard guard(grad.get_device_index());
  const MemoryFormat layout = memory_format_of(grad);
  const bool interleaved = layout == MemoryFormat::ChannelsLast;
  const ScalarType wide = accumulation_dtype(grad.scalar_type());
  Tensor map =
      allocate({grad.size(0), grad.size(1), geometry.h.input, geometry.w.input}, grad.scalar_type(), layout, grad);
  Tensor bias = allocate_parameter(grad.size(1), wide, grad);
  const CudaLaunch launch = launch_on_device_of(grad);
  if (grad.numel() == 0) {
    fill_with_zeros(launch, map);
    fill_with_zeros(launch, bias);
    return {map, bias};
  }
  const Tensor inputs[] = {with_layout(grad, layout), with_layout(values, layout), with_layout(offsets, layout)};
  dispatch_floating(op, grad, [&](auto scalar) {
    using scalar_t = device_t<typename decltype(scalar)::type>;
    using number = compute_t<scalar_t>;
    const PassedGradient<scalar_t> gradient = {elements<scalar_t>(inputs[0]), elements<scalar_t>(inputs[1])};
    const StripPlan plan = plan_window_sums(gradient, g, grad.size(0), grad.size(1), interleaved);
    const Tensor partial = allocate_parameter(plan.strips.partials(), wide, grad);
    launch_bias_gradient(launch, gradient, mutable_elements<number>(partial), mutable_elements<number>(bias), plan);
    if (map.numel() == 0) return;
    const auto [images, channels] = interleaving(grad, layout);
    dispatch_offset(op, offsets.scalar_type(), [&, images = images, channels = channels](auto offset) {
      using offset_t = typename decltype(offset)::type;
      launch_map_gradient(launch, gradient, elements<offset_t>(inputs[2]), AsCollected(),
                          mutable_elements<scalar_t>(map), g, images, channels);
    });
  });
  return {map, bias};
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CUDA, m) {
  m.impl("bias_relu_pool2d_backward", TORCH_BOX(&bias_relu_pool2d_backward_cuda));
}

}  // namespace
}  // namespace wwae

// batch_norm_relu_pool2d_backward on CUDA: the gradients of x (N, C, H, W), weight and bias (C). Kernels in
// batch_norm_relu_pool2d_backward.cuh.
#include "common/parameters.h"
#include "common/relu_pool.h"
#include "cuda/batch_norm_relu_pool2d_backward.cuh"
#include "cuda/launch.cuh"

namespace wwae {
namespace {

std::tuple<Tensor, Tensor, Tensor> batch_norm_relu_pool2d_backward_cuda(const Tensor& grad, const Tensor& values,
                                                                        const Tensor& offsets, const Tensor& x,
                                                                        const Tensor& mean, const Tensor& variance,
                                                                        const Tensor& weight, bool training, double eps,
                                                                        const Pair& kernel_size, const Pair& stride,
                                                                        const Pair& padding, const Pair& dilation) {
  constexpr const char* op = "batch_norm_relu_pool2d_backward";
  check_batch_norm_backward(op, grad, x, mean, variance, weight);
  const Geometry geometry = check_relu_pool_backward(op, grad, values, offsets, kernel_size, stride, padding, dilation,
                                                     {x.size(2), x.size(3)});
  const Geometry32 g = narrow(op, geometry);
  const DeviceGuard guard(grad.get_device_index());
  const MemoryFormat layout = memory_format_of(grad);
  const bool interleaved = layout == MemoryFormat::ChannelsLast;
  const int64_t map_channels = x.size(1);
  const ScalarType wide = accumulation_dtype(x.scalar_type());
  Tensor map = allocate(sizes_of(x), x.scalar_type(), layout, grad);
  Tensor grad_weight = allocate_parameter(map_channels, wide, grad);
  Tensor grad_bias = allocate_parameter(map_channels, wide, grad);
  const CudaLaunch launch = launch_on_device_of(grad);
  if (grad.numel() == 0) {
    for (const Tensor& output : {map, grad_weight, grad_bias}) fill_with_zeros(launch, output);
    return {map, grad_weight, grad_bias};
  }
  const Tensor inputs[] = {with_layout(grad, layout), with_layout(values, layout), with_layout(offsets, layout),
                           with_layout(x, layout)};
  const Tensor parameters[] = {parameter_as(mean, wide), parameter_as(variance, wide), parameter_as(weight, wide)};
  const Tensor factors = allocate_parameter(3 * map_channels, wide, grad);  // scale, slope, shift
  dispatch_floating(op, grad, [&](auto scalar) {
    using scalar_t = device_t<typename decltype(scalar)::type>;
    using number = compute_t<scalar_t>;
    const PassedGradient<scalar_t> gradient = {elements<scalar_t>(inputs[0]), elements<scalar_t>(inputs[1])};
    const StripPlan plan = plan_window_sums(gradient, g, x.size(0), map_channels, interleaved);
    const Tensor partial = allocate_parameter(2 * plan.strips.partials(), wide, grad);
    number* scale = mutable_elements<number>(factors);
    const Coefficients<number> coefficients = {elements<number>(parameters[1]),
                                               elements<number>(parameters[2]),
                                               mutable_elements<number>(grad_weight),
                                               mutable_elements<number>(grad_bias),
                                               scale,
                                               scale + map_channels,
                                               scale + 2 * map_channels,
                                               eps,
                                               static_cast<double>(x.numel() / map_channels)};
    const auto [images, channels] = interleaving(grad, layout);
    dispatch_offset(op, offsets.scalar_type(), [&, images = images, channels = channels](auto offset) {
      using offset_t = typename decltype(offset)::type;
      const auto* switches = elements<offset_t>(inputs[2]);
      const auto* pixels = elements<scalar_t>(inputs[3]);
      const auto* means = elements<number>(parameters[0]);
      launch_batch_norm_sums(launch, gradient, switches, pixels, means, mutable_elements<number>(partial), coefficients,
                             g, channels, plan);
      const auto write = [&](auto finish) {
        launch_map_gradient(launch, gradient, switches, finish, mutable_elements<scalar_t>(map), g, images, channels);
      };
      const int64_t plane = x.size(2) * x.size(3);
      if (training) {
        write(Normalised<scalar_t, true>{pixels, means, scale, coefficients.slope, coefficients.shift, map_channels,
                                         plane});
      } else {
        write(Normalised<scalar_t, false>{pixels, means, scale, coefficients.slope, coefficients.shift, map_channels,
                                          plane});
      }
    });
  });
  return {map, grad_weight, grad_bias};
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CUDA, m) {
  m.impl("batch_norm_relu_pool2d_backward", TORCH_BOX(&batch_norm_relu_pool2d_backward_cuda));
}

}  // namespace
}  // namespace wwae

// batch_norm_relu_pool2d on CUDA: (values, offsets), both (N, C, OH, OW), and the mean and variance (C) that normalised
// x. Kernels in batch_norm_relu_pool2d.cuh.
#include <optional>

#include "common/parameters.h"
#include "common/relu_pool.h"
#include "cuda/batch_norm_relu_pool2d.cuh"
#include "cuda/launch.cuh"

namespace wwae {
namespace {

std::tuple<Tensor, Tensor, Tensor, Tensor> batch_norm_relu_pool2d_cuda(
    const Tensor& x, const Tensor& weight, const Tensor& bias, const std::optional<Tensor>& given_mean,
    const std::optional<Tensor>& given_variance, double eps, const Pair& kernel_size, const Pair& stride,
    const Pair& padding, const Pair& dilation, bool ceil_mode) {
  constexpr const char* op = "batch_norm_relu_pool2d";
  check_batch_norm(op, x, weight, bias, given_mean, given_variance);
  const Geometry geometry = pool_geometry(op, x, kernel_size, stride, padding, dilation, ceil_mode);
  const Geometry32 g = narrow(op, geometry);
  const DeviceGuard guard(x.get_device_index());
  const MemoryFormat layout = memory_format_of(x);
  const ScalarType wide = accumulation_dtype(x.scalar_type());
  const ScalarType offsets_type = offset_dtype(geometry.taps());
  const Sizes size = {x.size(0), x.size(1), geometry.h.output, geometry.w.output};
  Tensor values = allocate(size, x.scalar_type(), layout, x);
  Tensor offsets = allocate(size, offsets_type, layout, x);
  Tensor mean = given_mean.has_value() ? parameter_copy(*given_mean, wide) : allocate_parameter(x.size(1), wide, x);
  Tensor variance =
      given_variance.has_value() ? parameter_copy(*given_variance, wide) : allocate_parameter(x.size(1), wide, x);
  const CudaLaunch launch = launch_on_device_of(x);
  dispatch_floating(op, x, [&](auto scalar) {
    using scalar_t = device_t<typename decltype(scalar)::type>;
    using number = compute_t<scalar_t>;
    if (values.numel() == 0) {
      if (given_mean.has_value()) return;
      // The statistics of nothing: all bits set are NaN.
      for (const Tensor& unknown : {mean, variance}) {
        const size_t bytes = unknown.numel() * sizeof(number);
        STD_CUDA_CHECK(cudaMemsetAsync(unknown.mutable_data_ptr(), 0xff, bytes, launch.stream));
      }
      return;
    }
    const Tensor input = with_layout(x, layout);
    const Tensor wide_weight = parameter_as(weight, wide);
    const Tensor wide_bias = parameter_as(bias, wide);
    const Tensor scale = allocate_parameter(x.size(1), wide, x);
    if (!given_mean.has_value()) {
      const StripPlan plan = plan_statistics(elements<scalar_t>(input), x.size(0), x.size(1), x.size(2) * x.size(3),
                                             layout == MemoryFormat::ChannelsLast);
      const Tensor partial = allocate_parameter(3 * plan.strips.partials(), wide, x);
      launch_statistics(launch, elements<scalar_t>(input), mutable_elements<number>(partial),
                        mutable_elements<number>(mean), mutable_elements<number>(variance), plan);
    }
    launch_batch_norm_scale(launch, elements<number>(variance), elements<number>(wide_weight),
                            mutable_elements<number>(scale), eps, x.size(1));
    const auto [images, channels] = interleaving(x, layout);
    const PoolTensors<scalar_t> tensors = {elements<scalar_t>(input), mutable_elements<scalar_t>(values),
                                           offsets.mutable_data_ptr(), nullptr, channels};
    const BatchNormReLU<scalar_t> activation = {
        {x.size(1)}, elements<number>(mean), elements<number>(scale), elements<number>(wide_bias)};
    dispatch_offset(op, offsets_type, [&, images = images](auto offset) {
      launch_switch_pool2d<typename decltype(offset)::type, false>(launch, tensors, g, images, activation);
    });
  });
  return {values, offsets, mean, variance};
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CUDA, m) { m.impl("batch_norm_relu_pool2d", TORCH_BOX(&batch_norm_relu_pool2d_cuda)); }

}  // namespace
}  // namespace wwae

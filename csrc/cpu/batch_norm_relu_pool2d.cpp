// batch_norm_relu_pool2d: (values, offsets) of max_pool2d(relu(batch_norm(x))), both (N, C, OH, OW), and the mean and
// variance (C) that normalised x: its own, from a pass of channel_statistics.h, where none are given. The kernel is
// pool_kernel.h.
#include <cmath>
#include <optional>

#include "common/parameters.h"
#include "common/relu_pool.h"
#include "cpu/channel_statistics.h"
#include "cpu/pool_kernel.h"

namespace wwae {
namespace {

std::tuple<Tensor, Tensor, Tensor, Tensor> batch_norm_relu_pool2d_cpu(
    const Tensor& x, const Tensor& weight, const Tensor& bias, const std::optional<Tensor>& given_mean,
    const std::optional<Tensor>& given_variance, double eps, const Pair& kernel_size, const Pair& stride,
    const Pair& padding, const Pair& dilation, bool ceil_mode) {
  constexpr const char* op = "batch_norm_relu_pool2d";
  check_batch_norm(op, x, weight, bias, given_mean, given_variance);
  const Geometry geometry = pool_geometry(op, x, kernel_size, stride, padding, dilation, ceil_mode);
  const MemoryFormat layout = memory_format_of(x);
  const int64_t channels = x.size(1);
  const ScalarType wide = accumulation_dtype(x.scalar_type());
  const Sizes output_size = {x.size(0), channels, geometry.h.output, geometry.w.output};
  Tensor values = allocate(output_size, x.scalar_type(), layout, x);
  Tensor offsets = allocate(output_size, offset_dtype(geometry.taps()), layout, x);
  Tensor mean = allocate_parameter(channels, wide, x);
  Tensor variance = allocate_parameter(channels, wide, x);
  Tensor scale = allocate_parameter(channels, wide, x);
  const Tensor map = with_layout(x, layout);
  const Tensor wide_weight = parameter_as(weight, wide);
  const Tensor wide_bias = parameter_as(bias, wide);
  const auto prepare = [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    using sum_t = accumulate_t<scalar_t>;
    auto* means = static_cast<sum_t*>(mean.mutable_data_ptr());
    auto* variances = static_cast<sum_t*>(variance.mutable_data_ptr());
    auto* scales = static_cast<sum_t*>(scale.mutable_data_ptr());
    if (given_mean.has_value()) {
      std::copy_n(static_cast<const sum_t*>(parameter_as(*given_mean, wide).const_data_ptr()), channels, means);
      std::copy_n(static_cast<const sum_t*>(parameter_as(*given_variance, wide).const_data_ptr()), channels, variances);
    } else {
      const ChannelStatistics own = channel_statistics<scalar_t>(elements<scalar_t>(map), sizes_of(x), layout);
      std::copy(own.mean.begin(), own.mean.end(), means);
      std::copy(own.variance.begin(), own.variance.end(), variances);
    }
    const auto* weights = static_cast<const sum_t*>(wide_weight.const_data_ptr());
    for (int64_t c = 0; c < channels; ++c) {
      scales[c] = weights[c] / std::sqrt(variances[c] + static_cast<sum_t>(eps));
    }
    return BatchNormReLU<scalar_t>{means, scales, static_cast<const sum_t*>(wide_bias.const_data_ptr())};
  };
  if (x.numel() == 0) {
    dispatch_floating(op, x, [&](auto scalar) { static_cast<void>(prepare(scalar)); });
  } else {
    pool(op, geometry, map, values, offsets, nullptr, prepare);
  }
  return {values, offsets, mean, variance};
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) { m.impl("batch_norm_relu_pool2d", TORCH_BOX(&batch_norm_relu_pool2d_cpu)); }

}  // namespace
}  // namespace wwae

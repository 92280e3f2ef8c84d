// bias_relu_pool2d on CUDA: (values, offsets), both (N, C, OH, OW). Kernels in bias_relu_pool2d.cuh.
#include "common/parameters.h"
#include "cuda/bias_relu_pool2d.cuh"
#include "cuda/launch.cuh"

namespace wwae {
namespace {

std::tuple<Tensor, Tensor> bias_relu_pool2d_cuda(const Tensor& x, const Tensor& bias, const Pair& kernel_size,
                                                 const Pair& stride, const Pair& padding, const Pair& dilation,
                                                 bool ceil_mode) {
  constexpr const char* op = "bias_relu_pool2d";
  check_4d(op, "x", x);
  check_parameter(op, "bias", bias, x);
  const Geometry geometry = pool_geometry(op, x, kernel_size, stride, padding, dilation, ceil_mode);
  const Geometry32 g = narrow(op, geometry);
  const DeviceGuard guard(x.get_device_index());
  const MemoryFormat layout = memory_format_of(x);
  const Sizes size = {x.size(0), x.size(1), geometry.h.output, geometry.w.output};
  const ScalarType offsets_type = offset_dtype(geometry.taps());
  Tensor values = allocate(size, x.scalar_type(), layout, x);
  Tensor offsets = allocate(size, offsets_type, layout, x);
  dispatch_floating(op, x, [&](auto scalar) {
    if (values.numel() == 0) return;
    const Tensor input = with_layout(x, layout);
    const Tensor wide = parameter_as(bias, accumulation_dtype(x.scalar_type()));
    const auto [images, channels] = interleaving(x, layout);
    using scalar_t = device_t<typename decltype(scalar)::type>;
    const PoolTensors<scalar_t> tensors = {elements<scalar_t>(input), mutable_elements<scalar_t>(values),
                                           offsets.mutable_data_ptr(), nullptr, channels};
    const BiasReLU<scalar_t> activation = {{x.size(1)}, elements<compute_t<scalar_t>>(wide)};
    dispatch_offset(op, offsets_type, [&](auto offset) {
      launch_switch_pool2d<typename decltype(offset)::type, false>(launch_on_device_of(x), tensors, g, images,
                                                                   activation);
    });
  });
  return {values, offsets};
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CUDA, m) { m.impl("bias_relu_pool2d", TORCH_BOX(&bias_relu_pool2d_cuda)); }

}  // namespace
}  // namespace wwae

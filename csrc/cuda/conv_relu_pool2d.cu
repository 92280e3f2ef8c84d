// conv_relu_pool2d on CUDA: (values, offsets), both (N, O, OH, OW). Kernel in conv_relu_pool2d.cuh. Contiguous maps are
// copied to channels_last and back.
#include "cuda/conv_relu_pool2d.cuh"
#include "cuda/plan_convolution.cuh"

namespace wwae {
namespace {

std::tuple<Tensor, Tensor> conv_relu_pool2d_cuda(const Tensor& x, const Tensor& weight,
                                                 const std::optional<Tensor>& bias, const Pair& kernel_size,
                                                 const Pair& stride, const Pair& padding, const Pair& dilation,
                                                 bool ceil_mode, const Pair& conv_stride, const Pair& conv_padding,
                                                 const Pair& conv_dilation, int64_t groups) {
  constexpr const char* op = "conv_relu_pool2d";
  check_4d(op, "x", x);
  check_half(op, x);
  check(conv_stride == Pair{1, 1} && conv_dilation == Pair{1, 1} && groups == 1, op,
        ": the CUDA kernel takes conv_stride 1, conv_dilation 1 and groups 1, got ", listed(conv_stride), ", ",
        listed(conv_dilation), " and ", groups);
  check_weight(op, weight, bias, x);
  const Convolution conv = plan_convolution(op, x.size(0), x.size(1), {x.size(2), x.size(3)}, weight.size(0),
                                            {weight.size(2), weight.size(3)}, conv_padding);
  const Sizes convolved = {x.size(0), weight.size(0), conv.output_height(), conv.output_width()};
  const Geometry geometry =
      pool_geometry(op, "a convolved map", convolved, kernel_size, stride, padding, dilation, ceil_mode);
  const Geometry32 pool = narrow(op, geometry);
  check_pixels(op, x.size(0), {geometry.h.output, geometry.w.output});
  check(tile_windows(pool.h) > 0 && tile_windows(pool.w) > 0, op, ": the CUDA kernel takes windows that span at most ",
        kTileSide, " positions, got kernel_size ", listed(kernel_size), " and dilation ", listed(dilation));
  const DeviceGuard guard(x.get_device_index());
  const MemoryFormat layout = memory_format_of(x);
  const Sizes size = {x.size(0), weight.size(0), geometry.h.output, geometry.w.output};
  const Tensor values = allocate(size, x.scalar_type(), MemoryFormat::ChannelsLast, x);
  const Tensor offsets = allocate(size, ScalarType::Byte, MemoryFormat::ChannelsLast, x);
  if (values.numel() > 0) {
    const Tensor map = channels_last(x);
    const Tensor taps = channels_last(weight);
    std::optional<Tensor> wide;
    dispatch_half(op, x, [&](auto scalar) {
      using scalar_t = typename decltype(scalar)::type;
      launch_conv_relu_pool2d(launch_on_device_of(x), elements<scalar_t>(map), elements<scalar_t>(taps),
                              float_bias(bias, wide), mutable_elements<scalar_t>(values),
                              mutable_elements<uint8_t>(offsets), conv, pool);
    });
  }
  return {with_layout(values, layout), with_layout(offsets, layout)};
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CUDA, m) { m.impl("conv_relu_pool2d", TORCH_BOX(&conv_relu_pool2d_cuda)); }

}  // namespace
}  // namespace wwae

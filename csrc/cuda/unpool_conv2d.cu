// unpool_conv2d on CUDA: the convolution (N, O, H', W') of the unpooled map. Kernel in unpool_conv2d.cuh. Contiguous
// maps are copied to channels_last and back.
#include "cuda/plan_convolution.cuh"
#include "cuda/unpool_conv2d.cuh"

namespace wwae {
namespace {

Tensor unpool_conv2d_cuda(const Tensor& x, const Tensor& offsets, const Tensor& weight,
                          const std::optional<Tensor>& bias, const Pair& kernel_size, const Pair& stride,
                          const Pair& padding, const Pair& dilation, const Pair& output_size, const Pair& conv_padding,
                          bool relu) {
  constexpr const char* op = "unpool_conv2d";
  check_4d(op, "x", x);
  check_half(op, x);
  check_weight(op, weight, bias, x);
  const Geometry geometry = check_unpooled(op, x, offsets, kernel_size, stride, padding, dilation, output_size);
  const Geometry32 g = narrow(op, geometry);
  const Convolution conv = plan_convolution(op, x.size(0), x.size(1), output_size, weight.size(0),
                                            {weight.size(2), weight.size(3)}, conv_padding);
  const DeviceGuard guard(x.get_device_index());
  const Tensor output = allocate({x.size(0), weight.size(0), conv.output_height(), conv.output_width()},
                                 x.scalar_type(), MemoryFormat::ChannelsLast, x);
  if (output.numel() > 0) {
    const Tensor values = channels_last(x);
    const Tensor switches = channels_last(offsets);
    const Tensor taps = channels_last(weight);
    std::optional<Tensor> wide;
    dispatch_half(op, x, [&](auto scalar) {
      using scalar_t = typename decltype(scalar)::type;
      launch_unpool_conv2d(launch_on_device_of(x), elements<scalar_t>(values), elements<uint8_t>(switches),
                           elements<scalar_t>(taps), float_bias(bias, wide), relu, mutable_elements<scalar_t>(output),
                           conv, g);
    });
  }
  return with_layout(output, memory_format_of(x));
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CUDA, m) { m.impl("unpool_conv2d", TORCH_BOX(&unpool_conv2d_cuda)); }

}  // namespace
}  // namespace wwae

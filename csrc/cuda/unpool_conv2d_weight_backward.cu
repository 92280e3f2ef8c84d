// unpool_conv2d_weight_backward on CUDA: the gradient (O, I, KH, KW), in the memory format of x. Kernels in
// unpool_conv2d_weight_backward.cuh, which write it contiguous. Contiguous maps are copied to channels_last.
#include "cuda/plan_convolution.cuh"
#include "cuda/unpool_conv2d_weight_backward.cuh"

namespace wwae {
namespace {

Tensor unpool_conv2d_weight_backward_cuda(const Tensor& x, const Tensor& offsets, const Tensor& dense,
                                          const Pair& kernel_size, const Pair& stride, const Pair& padding,
                                          const Pair& dilation, const Pair& output_size, const Pair& conv_kernel_size,
                                          const Pair& conv_padding) {
  constexpr const char* op = "unpool_conv2d_weight_backward";
  check_4d(op, "x", x);
  check_half(op, x);
  const Geometry geometry = check_unpooled(op, x, offsets, kernel_size, stride, padding, dilation, output_size);
  const Geometry32 g = narrow(op, geometry);
  check_4d(op, "dense", dense);
  const Convolution conv =
      plan_convolution(op, x.size(0), x.size(1), output_size, dense.size(1), conv_kernel_size, conv_padding);
  check_shape(op, "dense", dense, {x.size(0), dense.size(1), conv.output_height(), conv.output_width()});
  check_dtype(op, "dense", dense, x.scalar_type());
  check_same_device(op, "dense", dense, x);
  const WeightGradient plan = plan_weight_gradient(conv);
  const DeviceGuard guard(x.get_device_index());
  const CudaLaunch launch = launch_on_device_of(x);
  const Tensor grad = allocate({dense.size(1), x.size(1), conv_kernel_size[0], conv_kernel_size[1]}, x.scalar_type(),
                               MemoryFormat::Contiguous, x);
  if (x.numel() == 0 || dense.numel() == 0) {
    fill_with_zeros(launch, grad);
    return with_layout(grad, memory_format_of(x));
  }
  const Tensor inputs[] = {channels_last(x), channels_last(offsets), channels_last(dense)};
  const Tensor partial = allocate_parameter(plan.parts * plan.weights(), ScalarType::Float, x);
  dispatch_half(op, x, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    launch_unpool_conv2d_weight_backward(launch, elements<scalar_t>(inputs[0]), elements<uint8_t>(inputs[1]),
                                         elements<scalar_t>(inputs[2]), mutable_elements<float>(partial),
                                         mutable_elements<scalar_t>(grad), plan, g);
  });
  return with_layout(grad, memory_format_of(x));
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CUDA, m) {
  m.impl("unpool_conv2d_weight_backward", TORCH_BOX(&unpool_conv2d_weight_backward_cuda));
}

}  // namespace
}  // namespace wwae

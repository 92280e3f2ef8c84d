// soft_argmax_unpool2d_backward on CUDA: gradients in what (N, C, OH, OW) and where (N, C, OH, OW, 2). Kernels in
// soft_argmax_unpool2d_backward.cuh.
#include "common/pairs.h"
#include "cuda/launch.cuh"
#include "cuda/soft_argmax_unpool2d_backward.cuh"

namespace wwae {
namespace {

std::tuple<Tensor, Tensor> soft_argmax_unpool2d_backward_cuda(const Tensor& what, const Tensor& where,
                                                              const Tensor& grad, const Pair& kernel_size,
                                                              const Pair& stride, const Pair& padding) {
  constexpr const char* op = "soft_argmax_unpool2d_backward";
  check_4d(op, "what", what);
  check_4d(op, "grad", grad);
  check_shape(op, "grad", grad, {what.size(0), what.size(1), grad.size(2), grad.size(3)});
  check_dtype(op, "grad", grad, what.scalar_type());
  check_same_device(op, "grad", grad, what);
  const Geometry geometry =
      unpool_geometry(op, what, kernel_size, stride, padding, {1, 1}, {grad.size(2), grad.size(3)});
  const Geometry32 g = narrow(op, geometry);
  const DeviceGuard guard(what.get_device_index());
  const MemoryFormat layout = memory_format_of(what);
  return dispatch_floating(op, what, [&](auto scalar) -> std::tuple<Tensor, Tensor> {
    using scalar_t = device_t<typename decltype(scalar)::type>;
    using sum_t = compute_t<scalar_t>;
    check_positions(op, where, what);
    Tensor grad_what = allocate(sizes_of(what), what.scalar_type(), layout, what);
    Tensor grad_where = allocate_pairs(sizes_of(what), where.scalar_type(), layout, what);
    if (grad_what.numel() == 0) return {grad_what, grad_where};
    const Tensor values = with_layout(what, layout);
    const Tensor positions = pairs_with_layout(where, layout);
    const Tensor map = with_layout(grad, layout);
    const auto [images, channels] = interleaving(what, layout);
    const SoftUnpoolGradients<scalar_t> tensors = {elements<scalar_t>(values),
                                                   elements<sum_t>(positions),
                                                   elements<scalar_t>(map),
                                                   mutable_elements<scalar_t>(grad_what),
                                                   mutable_elements<sum_t>(grad_where),
                                                   channels};
    launch_soft_argmax_unpool2d_backward(launch_on_device_of(what), tensors, g, images);
    return {grad_what, grad_where};
  });
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CUDA, m) {
  m.impl("soft_argmax_unpool2d_backward", TORCH_BOX(&soft_argmax_unpool2d_backward_cuda));
}

}  // namespace
}  // namespace wwae

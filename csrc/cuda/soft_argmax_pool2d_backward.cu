// soft_argmax_pool2d_backward on CUDA: gradients in x (N, C, H, W) and beta (N, C). Kernels in
// soft_argmax_pool2d_backward.cuh.
#include "common/pairs.h"
#include "cuda/launch.cuh"
#include "cuda/plane_beta.cuh"
#include "cuda/soft_argmax_pool2d_backward.cuh"

namespace wwae {
namespace {

std::tuple<Tensor, Tensor> soft_argmax_pool2d_backward_cuda(const Tensor& x, const Tensor& beta,
                                                            const Tensor& grad_what, const Tensor& grad_where,
                                                            const Pair& kernel_size, const Pair& stride,
                                                            const Pair& padding, bool beta_grad) {
  constexpr const char* op = "soft_argmax_pool2d_backward";
  check_4d(op, "x", x);
  const Geometry geometry = pool_geometry(op, x, kernel_size, stride, padding, {1, 1}, false);
  const Geometry32 g = narrow(op, geometry);
  const DeviceGuard guard(x.get_device_index());
  const MemoryFormat layout = memory_format_of(x);
  return dispatch_floating(op, x, [&](auto scalar) -> std::tuple<Tensor, Tensor> {
    using scalar_t = device_t<typename decltype(scalar)::type>;
    using sum_t = compute_t<scalar_t>;
    check_plane_values(op, "beta", beta, x);
    check_gradients(op, grad_what, grad_where, x, geometry);
    const auto scratch = [&](const Sizes& size) {
      return allocate(size, beta.scalar_type(), MemoryFormat::Contiguous, x);
    };
    Tensor grad_x = allocate(sizes_of(x), x.scalar_type(), layout, x);
    Tensor grad_beta = scratch({x.size(0), x.size(1)});
    if (grad_x.numel() == 0) return {grad_x, grad_beta};
    const CudaLaunch launch = launch_on_device_of(x);
    if (!beta_grad) {
      STD_CUDA_CHECK(
          cudaMemsetAsync(grad_beta.mutable_data_ptr(), 0, grad_beta.numel() * sizeof(sum_t), launch.stream));
    }
    const Tensor map = with_layout(x, layout);
    const Tensor what = with_layout(grad_what, layout);
    const Tensor where = pairs_with_layout(grad_where, layout);
    const int64_t windows = what.numel();
    const Tensor numbers = scratch({tiled(g) ? 0 : 5 * windows});
    const Tensor sums = scratch({beta_grad ? windows : 0});
    const auto [images, channels] = interleaving(x, layout);
    const SoftPoolGradients<scalar_t> tensors = {elements<scalar_t>(map),
                                                 plane_beta<scalar_t>(beta, layout),
                                                 elements<scalar_t>(what),
                                                 elements<sum_t>(where),
                                                 mutable_elements<scalar_t>(grad_x),
                                                 mutable_elements<sum_t>(numbers),
                                                 windows,
                                                 beta_grad ? mutable_elements<sum_t>(sums) : nullptr,
                                                 channels};
    launch_soft_argmax_pool2d_backward(launch, tensors, g, images);
    if (beta_grad) {
      const Tensor lines = scratch({images * g.h.output * channels});
      launch_soft_argmax_pool2d_backward_beta(launch, elements<sum_t>(sums), mutable_elements<sum_t>(lines),
                                              mutable_elements<sum_t>(grad_beta), g, images, channels);
    }
    return {grad_x, grad_beta};
  });
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CUDA, m) {
  m.impl("soft_argmax_pool2d_backward", TORCH_BOX(&soft_argmax_pool2d_backward_cuda));
}

}  // namespace
}  // namespace wwae

// soft_argmax_pool2d on CUDA: what (N, C, OH, OW) and where (N, C, OH, OW, 2). Kernels in soft_argmax_pool2d.cuh.
#include "common/pairs.h"
#include "cuda/launch.cuh"
#include "cuda/plane_beta.cuh"
#include "cuda/soft_argmax_pool2d.cuh"

namespace wwae {
namespace {

std::tuple<Tensor, Tensor> soft_argmax_pool2d_cuda(const Tensor& x, const Tensor& beta, const Pair& kernel_size,
                                                   const Pair& stride, const Pair& padding) {
  constexpr const char* op = "soft_argmax_pool2d";
  check_4d(op, "x", x);
  const Geometry geometry = pool_geometry(op, x, kernel_size, stride, padding, {1, 1}, false);
  const Geometry32 g = narrow(op, geometry);
  const DeviceGuard guard(x.get_device_index());
  const MemoryFormat layout = memory_format_of(x);
  const Sizes size = {x.size(0), x.size(1), g.h.output, g.w.output};
  return dispatch_floating(op, x, [&](auto scalar) -> std::tuple<Tensor, Tensor> {
    using scalar_t = device_t<typename decltype(scalar)::type>;
    check_plane_values(op, "beta", beta, x);
    Tensor what = allocate(size, x.scalar_type(), layout, x);
    Tensor where = allocate_pairs(size, beta.scalar_type(), layout, x);
    if (what.numel() == 0) return {what, where};
    const Tensor map = with_layout(x, layout);
    const auto [images, channels] = interleaving(x, layout);
    const SoftPoolTensors<scalar_t> tensors = {elements<scalar_t>(map), plane_beta<scalar_t>(beta, layout),
                                               mutable_elements<scalar_t>(what),
                                               mutable_elements<compute_t<scalar_t>>(where), channels};
    launch_soft_argmax_pool2d(launch_on_device_of(x), tensors, g, images);
    return {what, where};
  });
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CUDA, m) { m.impl("soft_argmax_pool2d", TORCH_BOX(&soft_argmax_pool2d_cuda)); }

}  // namespace
}  // namespace wwae

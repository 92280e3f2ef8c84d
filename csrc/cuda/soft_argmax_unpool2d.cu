// soft_argmax_unpool2d on CUDA: a map (N, C, H, W) with every what (N, C, OH, OW) split over the taps around where
// (N, C, OH, OW, 2). Kernels in soft_argmax_unpool2d.cuh.
#include "common/pairs.h"
#include "cuda/launch.cuh"
#include "cuda/soft_argmax_unpool2d.cuh"

namespace wwae {
namespace {

Tensor soft_argmax_unpool2d_cuda(const Tensor& what, const Tensor& where, const Pair& kernel_size, const Pair& stride,
                                 const Pair& padding, const Pair& output_size) {
  constexpr const char* op = "soft_argmax_unpool2d";
  check_4d(op, "what", what);
  const Geometry geometry = unpool_geometry(op, what, kernel_size, stride, padding, {1, 1}, output_size);
  const Geometry32 g = narrow(op, geometry);
  const DeviceGuard guard(what.get_device_index());
  const MemoryFormat layout = memory_format_of(what);
  Tensor output = allocate({what.size(0), what.size(1), g.h.input, g.w.input}, what.scalar_type(), layout, what);
  dispatch_floating(op, what, [&](auto scalar) {
    using scalar_t = device_t<typename decltype(scalar)::type>;
    check_positions(op, where, what);
    if (output.numel() == 0) return;
    const Tensor values = with_layout(what, layout);
    const Tensor positions = pairs_with_layout(where, layout);
    const auto [images, channels] = interleaving(what, layout);
    const SoftUnpoolTensors<scalar_t> tensors = {elements<scalar_t>(values), elements<compute_t<scalar_t>>(positions),
                                                 mutable_elements<scalar_t>(output), channels};
    launch_soft_argmax_unpool2d(launch_on_device_of(what), tensors, g, images);
  });
  return output;
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CUDA, m) { m.impl("soft_argmax_unpool2d", TORCH_BOX(&soft_argmax_unpool2d_cuda)); }

}  // namespace
}  // namespace wwae

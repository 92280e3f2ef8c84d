// fixed_unpool2d on CUDA: a map (N, C, H, W) with every x at the same tap of its window. Kernels in fixed_unpool2d.cuh.
#include "cuda/fixed_unpool2d.cuh"
#include "cuda/launch.cuh"

namespace wwae {
namespace {

Tensor fixed_unpool2d_cuda(const Tensor& x, const Pair& stride, const Pair& position, const Pair& output_size) {
  constexpr const char* op = "fixed_unpool2d";
  check_4d(op, "x", x);
  check_pair(op, "stride", stride, 1);
  check_pair(op, "position", position, 0);
  check_pair(op, "output_size", output_size, 0);
  // The window that ends at the position bounds every place that the kernel computes.
  const Geometry32 g = narrow(op, {{output_size[0], x.size(2), position[0] + 1, stride[0], 0, 1},
                                   {output_size[1], x.size(3), position[1] + 1, stride[1], 0, 1}});
  const DeviceGuard guard(x.get_device_index());
  const MemoryFormat layout = memory_format_of(x);
  Tensor output = allocate({x.size(0), x.size(1), output_size[0], output_size[1]}, x.scalar_type(), layout, x);
  dispatch_floating(op, x, [&](auto scalar) {
    if (output.numel() == 0) return;
    const Tensor values = with_layout(x, layout);
    const auto [images, channels] = interleaving(x, layout);
    using scalar_t = device_t<typename decltype(scalar)::type>;
    launch_fixed_unpool2d(launch_on_device_of(x), elements<scalar_t>(values), mutable_elements<scalar_t>(output),
                          {g.h.input, g.w.input}, {g.h.output, g.w.output}, {g.h.stride, g.w.stride},
                          {g.h.kernel - 1, g.w.kernel - 1}, images, channels);
  });
  return output;
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CUDA, m) { m.impl("fixed_unpool2d", TORCH_BOX(&fixed_unpool2d_cuda)); }

}  // namespace
}  // namespace wwae

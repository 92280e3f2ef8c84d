// switch_gather2d on CUDA: x (N, C, H, W) read at every switch, (N, C, OH, OW). Kernels in switch_gather2d.cuh.
#include "cuda/launch.cuh"
#include "cuda/switch_gather2d.cuh"

namespace wwae {
namespace {

Tensor switch_gather2d_cuda(const Tensor& x, const Tensor& offsets, const Pair& kernel_size, const Pair& stride,
                            const Pair& padding, const Pair& dilation, const std::string& overlap) {
  constexpr const char* op = "switch_gather2d";
  check_4d(op, "x", x);
  check_4d(op, "offsets", offsets);
  check_shape(op, "offsets", offsets, {x.size(0), x.size(1), offsets.size(2), offsets.size(3)});
  check_same_device(op, "offsets", offsets, x);
  const Geometry geometry =
      unpool_geometry(op, offsets, kernel_size, stride, padding, dilation, {x.size(2), x.size(3)});
  const ScalarType offsets_type = offset_dtype(geometry.taps());
  check_dtype(op, "offsets", offsets, offsets_type);
  const Overlap asked = parse_overlap(op, overlap);
  const Overlap mode = geometry.disjoint() ? Overlap::sum : asked;  // disjoint windows never meet: the modes agree
  const Geometry32 g = narrow(op, geometry);
  const DeviceGuard guard(x.get_device_index());
  const MemoryFormat layout = memory_format_of(x);
  Tensor output = allocate(sizes_of(offsets), x.scalar_type(), layout, x);
  dispatch_floating(op, x, [&](auto scalar) {
    if (output.numel() == 0) return;
    const Tensor map = with_layout(x, layout);
    const Tensor switches = with_layout(offsets, layout);
    const auto [images, channels] = interleaving(x, layout);
    using scalar_t = device_t<typename decltype(scalar)::type>;
    dispatch_offset(op, offsets_type, [&](auto offset) {
      using offset_t = typename decltype(offset)::type;
      launch_switch_gather2d(launch_on_device_of(x), elements<scalar_t>(map), elements<offset_t>(switches),
                             mutable_elements<scalar_t>(output), g, images, channels, mode);
    });
  });
  return output;
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CUDA, m) { m.impl("switch_gather2d", TORCH_BOX(&switch_gather2d_cuda)); }

}  // namespace
}  // namespace wwae

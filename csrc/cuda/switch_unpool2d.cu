// switch_unpool2d on CUDA: a map (N, C, H, W) with every x (N, C, OH, OW) at its switch. Kernels in
// switch_unpool2d.cuh.
#include "cuda/launch.cuh"
#include "cuda/switch_unpool2d.cuh"

namespace wwae {
namespace {

Tensor switch_unpool2d_cuda(const Tensor& x, const Tensor& offsets, const Pair& kernel_size, const Pair& stride,
                            const Pair& padding, const Pair& dilation, const Pair& output_size,
                            const std::string& overlap) {
  constexpr const char* op = "switch_unpool2d";
  check_4d(op, "x", x);
  check_shape(op, "offsets", offsets, x.sizes());
  check_same_device(op, "offsets", offsets, x);
  const Geometry geometry = unpool_geometry(op, x, kernel_size, stride, padding, dilation, output_size);
  const ScalarType offsets_type = offset_dtype(geometry.taps());
  check_dtype(op, "offsets", offsets, offsets_type);
  const Overlap mode = parse_overlap(op, overlap);
  const Geometry32 g = narrow(op, geometry);
  const DeviceGuard guard(x.get_device_index());
  const MemoryFormat layout = memory_format_of(x);
  Tensor output = allocate({x.size(0), x.size(1), output_size[0], output_size[1]}, x.scalar_type(), layout, x);
  dispatch_floating(op, x, [&](auto scalar) {
    if (output.numel() == 0) return;
    const Tensor values = with_layout(x, layout);
    const Tensor switches = with_layout(offsets, layout);
    const auto [images, channels] = interleaving(x, layout);
    using scalar_t = device_t<typename decltype(scalar)::type>;
    dispatch_offset(op, offsets_type, [&](auto offset) {
      using offset_t = typename decltype(offset)::type;
      launch_switch_unpool2d(launch_on_device_of(x), elements<scalar_t>(values),
                             RecordedSwitches<offset_t>{elements<offset_t>(switches)},
                             mutable_elements<scalar_t>(output), g, images, channels, mode);
    });
  });
  return output;
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CUDA, m) { m.impl("switch_unpool2d", TORCH_BOX(&switch_unpool2d_cuda)); }

}  // namespace
}  // namespace wwae

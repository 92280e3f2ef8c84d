// max_unpool2d on CUDA: a map (N, C, H, W) with every x (N, C, OH, OW) at its int64 index. Kernels in max_unpool2d.cuh.
#include "cuda/launch.cuh"
#include "cuda/max_unpool2d.cuh"
#include "cuda/owners.cuh"

namespace wwae {
namespace {

Tensor max_unpool2d_cuda(const Tensor& x, const Tensor& indices, const Pair& output_size) {
  constexpr const char* op = "max_unpool2d";
  check_4d(op, "x", x);
  check_shape(op, "indices", indices, x.sizes());
  check_dtype(op, "indices", indices, ScalarType::Long);
  check_same_device(op, "indices", indices, x);
  check_pair(op, "output_size", output_size, 0);
  const DeviceGuard guard(x.get_device_index());
  const MemoryFormat layout = memory_format_of(x);
  Tensor output = allocate({x.size(0), x.size(1), output_size[0], output_size[1]}, x.scalar_type(), layout, x);
  dispatch_words(op, x, [&](auto tag) {
    if (output.numel() == 0) return;
    using word = typename decltype(tag)::type;
    const Tensor values = with_layout(x, layout);
    with_owners(with_layout(indices, layout), layout, output_size[0], output_size[1],
                [&](const auto* owner, const Planes& windows, const Planes& pixels, int64_t images) {
                  launch_max_unpool2d_place(launch_on_device_of(x), elements<word>(values), owner,
                                            mutable_elements<word>(output), windows, pixels, images);
                });
  });
  return output;
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CUDA, m) { m.impl("max_unpool2d", TORCH_BOX(&max_unpool2d_cuda)); }

}  // namespace
}  // namespace wwae

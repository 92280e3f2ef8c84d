// max_gather2d on CUDA: x (N, C, H, W) read at every int64 index, (N, C, OH, OW). Kernels in max_gather2d.cuh.
#include "cuda/launch.cuh"
#include "cuda/max_gather2d.cuh"
#include "cuda/owners.cuh"

namespace wwae {
namespace {

Tensor max_gather2d_cuda(const Tensor& x, const Tensor& indices) {
  constexpr const char* op = "max_gather2d";
  check_4d(op, "x", x);
  check_4d(op, "indices", indices);
  check_shape(op, "indices", indices, {x.size(0), x.size(1), indices.size(2), indices.size(3)});
  check_dtype(op, "indices", indices, ScalarType::Long);
  check_same_device(op, "indices", indices, x);
  const DeviceGuard guard(x.get_device_index());
  const MemoryFormat layout = memory_format_of(x);
  Tensor output = allocate(sizes_of(indices), x.scalar_type(), layout, x);
  dispatch_words(op, x, [&](auto tag) {
    if (output.numel() == 0) return;
    using word = typename decltype(tag)::type;
    const Tensor map = with_layout(x, layout);
    const Tensor named = with_layout(indices, layout);
    with_owners(named, layout, x.size(2), x.size(3),
                [&](const auto* owner, const Planes& windows, const Planes& pixels, int64_t images) {
                  launch_max_gather2d(launch_on_device_of(x), elements<word>(map), elements<int64_t>(named), owner,
                                      mutable_elements<word>(output), windows, pixels, images);
                });
  });
  return output;
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CUDA, m) { m.impl("max_gather2d", TORCH_BOX(&max_gather2d_cuda)); }

}  // namespace
}  // namespace wwae

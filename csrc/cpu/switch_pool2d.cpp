// switch_pool2d: max pooling that returns (values, offsets), both (N, C, OH, OW). The kernel is in pool.h.
#include "common/checks.h"
#include "common/dtype.h"
#include "cpu/pool.h"

namespace wwae {
namespace {

std::tuple<Tensor, Tensor> switch_pool2d_cpu(const Tensor& x, const Pair& kernel_size, const Pair& stride,
                                             const Pair& padding, const Pair& dilation, bool ceil_mode) {
  constexpr const char* op = "switch_pool2d";
  check_4d(op, "x", x);
  const Geometry geometry = pool_geometry(op, x, kernel_size, stride, padding, dilation, ceil_mode);
  const MemoryFormat layout = memory_format_of(x);
  const Sizes output_size = {x.size(0), x.size(1), geometry.h.output, geometry.w.output};
  const ScalarType offsets_type = offset_dtype(geometry.taps());
  Tensor values = allocate(output_size, x.scalar_type(), layout, x);
  Tensor offsets = allocate(output_size, offsets_type, layout, x);
  dispatch_floating(op, x, [&](auto scalar) {
    dispatch_offset(op, offsets_type, [&](auto offset) {
      using scalar_t = typename decltype(scalar)::type;
      using offset_t = typename decltype(offset)::type;
      if (x.numel() == 0) return;
      const auto nothing_more = [](int64_t, int64_t, int64_t, int64_t) {};
      pool<scalar_t, offset_t>(geometry, with_layout(x, layout), layout, values, offsets, nothing_more);
    });
  });
  return {values, offsets};
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) { m.impl("switch_pool2d", TORCH_BOX(&switch_pool2d_cpu)); }

}  // namespace
}  // namespace wwae

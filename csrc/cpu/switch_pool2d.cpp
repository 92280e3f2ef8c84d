// switch_pool2d: max pooling that returns (values, offsets), both (N, C, OH, OW). The kernel is in pool.cpp.
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
  Tensor values = allocate(output_size, x.scalar_type(), layout, x);
  Tensor offsets = allocate(output_size, offset_dtype(geometry.taps()), layout, x);
  pool(op, geometry, x, values, offsets, nullptr);
  return {values, offsets};
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) { m.impl("switch_pool2d", TORCH_BOX(&switch_pool2d_cpu)); }

}  // namespace
}  // namespace wwae

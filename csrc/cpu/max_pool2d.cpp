// max_pool2d: max pooling that returns (values, indices, offsets), all (N, C, OH, OW), in one pass. The kernel is in
// pool.cpp.
#include "common/checks.h"
#include "common/dtype.h"
#include "cpu/pool.h"

namespace wwae {
namespace {

std::tuple<Tensor, Tensor, Tensor> max_pool2d_cpu(const Tensor& x, const Pair& kernel_size, const Pair& stride,
                                                  const Pair& padding, const Pair& dilation, bool ceil_mode) {
  constexpr const char* op = "max_pool2d";
  check_4d(op, "x", x);
  const Geometry g = pool_geometry(op, x, kernel_size, stride, padding, dilation, ceil_mode);
  const MemoryFormat layout = memory_format_of(x);
  const Sizes output_size = {x.size(0), x.size(1), g.h.output, g.w.output};
  Tensor values = allocate(output_size, x.scalar_type(), layout, x);
  Tensor indices = allocate(output_size, ScalarType::Long, layout, x);
  Tensor offsets = allocate(output_size, offset_dtype(g.taps()), layout, x);
  pool(op, g, x, values, offsets, &indices);
  return {values, indices, offsets};
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) { m.impl("max_pool2d", TORCH_BOX(&max_pool2d_cpu)); }

}  // namespace
}  // namespace wwae

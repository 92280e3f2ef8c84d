// bias_relu_pool2d: (values, offsets) of max_pool2d(relu(x + bias)), both (N, C, OH, OW). The kernel is pool_kernel.h;
// the activation costs no traffic but the bias, which stays in the first-level cache.
#include "common/checks.h"
#include "common/dtype.h"
#include "common/parameters.h"
#include "cpu/pool_kernel.h"

namespace wwae {
namespace {

std::tuple<Tensor, Tensor> bias_relu_pool2d_cpu(const Tensor& x, const Tensor& bias, const Pair& kernel_size,
                                                const Pair& stride, const Pair& padding, const Pair& dilation,
                                                bool ceil_mode) {
  constexpr const char* op = "bias_relu_pool2d";
  check_4d(op, "x", x);
  check_parameter(op, "bias", bias, x);
  const Geometry geometry = pool_geometry(op, x, kernel_size, stride, padding, dilation, ceil_mode);
  const MemoryFormat layout = memory_format_of(x);
  const Sizes output_size = {x.size(0), x.size(1), geometry.h.output, geometry.w.output};
  Tensor values = allocate(output_size, x.scalar_type(), layout, x);
  Tensor offsets = allocate(output_size, offset_dtype(geometry.taps()), layout, x);
  const Tensor wide = parameter_as(bias, accumulation_dtype(x.scalar_type()));
  pool(op, geometry, x, values, offsets, nullptr, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    return BiasReLU<scalar_t>{static_cast<const accumulate_t<scalar_t>*>(wide.const_data_ptr())};
  });
  return {values, offsets};
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) { m.impl("bias_relu_pool2d", TORCH_BOX(&bias_relu_pool2d_cpu)); }

}  // namespace
}  // namespace wwae

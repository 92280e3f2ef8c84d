// What the host functions of the operations with a ReLU before the pooling share.
#pragma once

#include "common/checks.h"
#include "common/dtype.h"

namespace wwae {

// The geometry of a backward, after checks of what comes from forward: `values` and `offsets` (N, C, OH, OW) as `grad`.
inline Geometry check_relu_pool_backward(const char* op, const Tensor& grad, const Tensor& values,
                                         const Tensor& offsets, const Pair& kernel_size, const Pair& stride,
                                         const Pair& padding, const Pair& dilation, const Pair& input_size) {
  check_4d(op, "grad", grad);
  check_shape(op, "values", values, sizes_of(grad));
  check_dtype(op, "values", values, grad.scalar_type());
  check_same_device(op, "values", values, grad);
  check_shape(op, "offsets", offsets, sizes_of(grad));
  check_same_device(op, "offsets", offsets, grad);
  const Geometry g = unpool_geometry(op, grad, kernel_size, stride, padding, dilation, input_size);
  check_dtype(op, "offsets", offsets, offset_dtype(g.taps()));
  return g;
}

}  // namespace wwae

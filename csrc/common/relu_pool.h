// What the host functions of the operations with a ReLU before the pooling share.
#pragma once

#include <optional>

#include "common/checks.h"
#include "common/dtype.h"

namespace wwae {

// The geometry of a backward, after checks of what comes from forward: `values` and `offsets` (N, C, OH, OW) as `grad`.
inline Geometry check_relu_pool_backward(const char* op, const Tensor& grad, const Tensor& values,
                                         const Tensor& offsets, const Pair& kernel_size, const Pair& stride,
                                         const Pair& padding, const Pair& dilation, const Pair& input_size) {
  check_4d(op, "grad", grad);
  check_shape(op, "values", values, grad.sizes());
  check_dtype(op, "values", values, grad.scalar_type());
  check_same_device(op, "values", values, grad);
  check_shape(op, "offsets", offsets, grad.sizes());
  check_same_device(op, "offsets", offsets, grad);
  const Geometry g = unpool_geometry(op, grad, kernel_size, stride, padding, dilation, input_size);
  check_dtype(op, "offsets", offsets, offset_dtype(g.taps()));
  return g;
}

inline void check_batch_norm(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                             const std::optional<Tensor>& mean, const std::optional<Tensor>& variance) {
  check_4d(op, "x", x);
  check_parameter(op, "weight", weight, x);
  check_parameter(op, "bias", bias, x);
  check(mean.has_value() == variance.has_value(), op,
        ": expected mean and variance to be both given or both None, got one of them");
  if (!mean.has_value()) return;
  check_parameter(op, "mean", *mean, x);
  check_parameter(op, "variance", *variance, x);
}

// What a backward needs besides: `x` (N, C, H, W) as it was pooled into `grad`, and a number of each kind a channel.
inline void check_batch_norm_backward(const char* op, const Tensor& grad, const Tensor& x, const Tensor& mean,
                                      const Tensor& variance, const Tensor& weight) {
  check_4d(op, "grad", grad);
  check_4d(op, "x", x);
  check_shape(op, "x", x, {grad.size(0), grad.size(1), x.size(2), x.size(3)});
  check_dtype(op, "x", x, grad.scalar_type());
  check_same_device(op, "x", x, grad);
  check_parameter(op, "mean", mean, x);
  check_parameter(op, "variance", variance, x);
  check_parameter(op, "weight", weight, x);
}

}  // namespace wwae

// Tensors of one number a channel.
#pragma once

#include "common/stable.h"

namespace wwae {

// The dtype in which values of `dtype` are added: see accumulate_t.
inline ScalarType accumulation_dtype(ScalarType dtype) {
  return dtype == ScalarType::BFloat16 || dtype == ScalarType::Half ? ScalarType::Float : dtype;
}

// `parameter` (C) in `dtype`, its numbers side by side; the tensor itself where it is that already.
inline Tensor parameter_as(const Tensor& parameter, ScalarType dtype) {
  const Tensor converted = parameter.scalar_type() == dtype ? parameter : torch::stable::to(parameter, dtype);
  return torch::stable::contiguous(converted);
}

// As parameter_as, in memory of its own.
inline Tensor parameter_copy(const Tensor& parameter, ScalarType dtype) {
  return torch::stable::contiguous(torch::stable::to(parameter, dtype, std::nullopt, std::nullopt, std::nullopt,
                                                     /*non_blocking=*/false, /*copy=*/true));
}

// (C), uninitialised, on the device of `like`.
inline Tensor allocate_parameter(int64_t channels, ScalarType dtype, const Tensor& like) {
  return torch::stable::empty(Sizes{channels}, dtype, std::nullopt, like.device());
}

}  // namespace wwae

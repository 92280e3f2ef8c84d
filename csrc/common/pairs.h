// Tensors of the soft operations: pairs (N, C, OH, OW, 2) that hold a position (x, y) for every window, and one value
// for every plane. A pair lies side by side in memory, the pairs as the elements of a map (N, C, OH, OW) in a layout.
#pragma once

#include "checks.h"
#include "dtype.h"
#include "stable.h"

namespace wwae {

// The dtype in which values of `dtype` are added: that of positions and of beta.
inline ScalarType accumulate_dtype(ScalarType dtype) {
  return dtype == ScalarType::BFloat16 || dtype == ScalarType::Half ? ScalarType::Float : dtype;
}

// Pairs for a map of `size` (N, C, OH, OW), uninitialised, on the device of `like`.
inline Tensor allocate_pairs(const Sizes& size, ScalarType dtype, MemoryFormat layout, const Tensor& like) {
  if (layout == MemoryFormat::Contiguous) {
    return torch::stable::empty({size[0], size[1], size[2], size[3], 2}, dtype, std::nullopt, like.device());
  }
  const Tensor pairs =
      torch::stable::empty({size[0], size[2], size[3], size[1], 2}, dtype, std::nullopt, like.device());
  return torch::stable::transpose(torch::stable::transpose(pairs, 1, 3), 2,
                                  3);  // to (N, C, OW, OH, 2), (N, C, OH, OW, 2)
}

// `pairs` with their memory as above, as a tensor whose dimensions are in the order of its memory.
inline Tensor pairs_with_layout(const Tensor& pairs, MemoryFormat layout) {
  if (layout == MemoryFormat::Contiguous) return torch::stable::contiguous(pairs, MemoryFormat::Contiguous);
  const Tensor rows_first = torch::stable::transpose(torch::stable::transpose(pairs, 2, 3), 1, 3);
  return torch::stable::contiguous(rows_first, MemoryFormat::Contiguous);
}

inline Sizes pairs_size(const Tensor& map) { return {map.size(0), map.size(1), map.size(2), map.size(3), 2}; }

// A position for every window of `what`.
inline void check_positions(const char* op, const Tensor& where, const Tensor& what) {
  check_shape(op, "where", where, pairs_size(what));
  check_dtype(op, "where", where, accumulate_dtype(what.scalar_type()));
  check_same_device(op, "where", where, what);
}

// What comes back for the windows of x: gradients in what and in where.
inline void check_gradients(const char* op, const Tensor& grad_what, const Tensor& grad_where, const Tensor& x,
                            const Geometry& g) {
  check_shape(op, "grad_what", grad_what, {x.size(0), x.size(1), g.h.output, g.w.output});
  check_dtype(op, "grad_what", grad_what, x.scalar_type());
  check_same_device(op, "grad_what", grad_what, x);
  check_shape(op, "grad_where", grad_where, pairs_size(grad_what));
  check_dtype(op, "grad_where", grad_where, accumulate_dtype(x.scalar_type()));
  check_same_device(op, "grad_where", grad_where, x);
}

// One value for every plane of x.
inline void check_plane_values(const char* op, const char* argument, const Tensor& values, const Tensor& x) {
  check_shape(op, argument, values, {x.size(0), x.size(1)});
  check_dtype(op, argument, values, accumulate_dtype(x.scalar_type()));
  check_same_device(op, argument, values, x);
}

}  // namespace wwae

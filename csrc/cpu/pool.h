// Max pooling with switches on the CPU: what switch_pool2d and max_pool2d share.
#pragma once

#include "common/geometry.h"
#include "common/stable.h"

namespace wwae {

// Pools x (N, C, H, W) into values, offsets and, unless null, indices: (N, C, OH, OW), allocated in the layout of x.
//
// Per window: the first maximum in raster order and its offset r * KW + c; the last NaN where there is one; -inf and
// the first real tap for a window of -inf; -inf and 0 for a window without a real tap.
void pool(const char* op, const Geometry& geometry, const Tensor& x, const Tensor& values, const Tensor& offsets,
          const Tensor* indices);

}  // namespace wwae

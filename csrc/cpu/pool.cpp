// Plain max pooling, which switch_pool2d and max_pool2d share: one copy of the code of pool_kernel.h.
#include "cpu/pool.h"

#include "cpu/pool_kernel.h"

namespace wwae {

void pool(const char* op, const Geometry& geometry, const Tensor& x, const Tensor& values, const Tensor& offsets,
          const Tensor* indices) {
  pool(op, geometry, x, values, offsets, indices, [](auto) { return Identity(); });
}

}  // namespace wwae

#include "sums.cuh"

#include "entry.h"

namespace wwae {

// x, output: (blocks, columns * rows, kValues).
WWAE_ENTRY emulate_block_sum(const float* x, float* output, int64_t blocks, int64_t columns, int64_t rows) {
  EmulatedLaunch()(block_sum_kernel, Blocks{blocks, static_cast<int>(columns), static_cast<int>(rows)}, x, output);
}

WWAE_ENTRY emulate_column_sum(const float* x, float* output, int64_t blocks, int64_t columns, int64_t rows) {
  EmulatedLaunch()(column_sum_kernel, Blocks{blocks, static_cast<int>(columns), static_cast<int>(rows)}, x, output);
}

}  // namespace wwae

// Kernels around reduce.cuh: every block sums its threads' values twice, so that the second use finds the first one's
// shared memory, and writes the second sums.
#pragma once

#include "cuda/reduce.cuh"
#include "cuda/tile.cuh"

namespace wwae {

constexpr int kValues = 3;

template <typename Sum>
__device__ void sum_twice(const float* x, float* output, const Sum& sum) {
  const int64_t thread = threadIdx.y * blockDim.x + threadIdx.x;
  const int64_t first = (blockIdx.x * blockDim.x * blockDim.y + thread) * kValues;
  float values[kValues];
  for (float& value : values) value = 1;
  sum(values);
  for (int i = 0; i < kValues; ++i) values[i] = x[first + i];
  sum(values);
  for (int i = 0; i < kValues; ++i) output[first + i] = values[i];
}

__global__ void block_sum_kernel(const float* x, float* output) {
  sum_twice(x, output, [](float (&values)[kValues]) { block_sum(values); });
}

__global__ void column_sum_kernel(const float* x, float* output) {
  sum_twice(x, output, [](float (&values)[kValues]) { column_sum<kThreads>(values); });
}

}  // namespace wwae

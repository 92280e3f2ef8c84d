// The primitives of device.cuh as nvcc compiles them: the kernels that test_reduce.py and test_tensor_cores.py run on a
// CPU, as plain functions for ctypes that take device memory and return CUDA's error code.
#include <cuda_runtime.h>

#include <cstdint>

#include "gemm.cuh"
#include "primitives.cuh"
#include "sums.cuh"

#define WWAE_ENTRY extern "C" __attribute__((visibility("default"))) int

namespace wwae {
namespace {

int finish() {
  const cudaError_t launched = cudaGetLastError();
  return launched != cudaSuccess ? launched : cudaDeviceSynchronize();
}

dim3 shape(int64_t columns, int64_t rows) { return dim3(static_cast<unsigned>(columns), static_cast<unsigned>(rows)); }

}  // namespace

WWAE_ENTRY device_block_sum(const float* x, float* output, int64_t blocks, int64_t columns, int64_t rows) {
  block_sum_kernel<<<static_cast<unsigned>(blocks), shape(columns, rows)>>>(x, output);
  return finish();
}

WWAE_ENTRY device_column_sum(const float* x, float* output, int64_t blocks, int64_t columns, int64_t rows) {
  column_sum_kernel<<<static_cast<unsigned>(blocks), shape(columns, rows)>>>(x, output);
  return finish();
}

// dtype: 2 bfloat16, 3 float16.
WWAE_ENTRY device_gemm(int64_t dtype, const void* a, const void* b, float* c, int64_t k, int64_t columns) {
  const unsigned blocks = static_cast<unsigned>(columns / kTile);
  const int depth = static_cast<int>(k);
  const int width = static_cast<int>(columns);
  const auto run = [&](auto scalar) {
    using scalar_t = decltype(scalar);
    gemm_kernel<scalar_t, Fault::none>
        <<<blocks, kGemmThreads>>>(static_cast<const scalar_t*>(a), static_cast<const scalar_t*>(b), c, depth, width);
  };
  dtype == 2 ? run(__nv_bfloat16()) : run(__half());
  return finish();
}

WWAE_ENTRY device_ldmatrix(const uint16_t* x, uint32_t* output) {
  ldmatrix_kernel<<<1, kWarp>>>(x, output);
  return finish();
}

WWAE_ENTRY device_primitives(const float* x, float* output) {
  primitives_kernel<<<1, kWarp, 256>>>(x, output);
  return finish();
}

}  // namespace wwae

// From the sums of implicit_gemm.cuh to results: bias, ReLU and rounding, and through shared memory, so that a thread
// has eight neighbouring channels to write.
#pragma once

#include "cuda/activation.cuh"
#include "cuda/implicit_gemm.cuh"

namespace wwae {

// What becomes of a sum before it is rounded.
struct BiasAndReLU {
  const float* bias;  // [O], or null
  bool relu;

  __device__ float of(float sum, float shift) const {
    const float shifted = sum + shift;
    return relu ? wwae::relu(shifted) : shifted;
  }
};

// The results of all positions m = 16 h + w of the tile, rounded: channel o at staged[m * kStagedLine + o]. For all
// threads to see.
template <typename scalar_t>
__device__ inline void stage_results(scalar_t* staged, const Sums& sums, const BiasAndReLU& finish,
                                     int32_t first_output, int32_t outputs) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const int column = warp % 2 * 32 + 8 * j + lane % 4 * 2;
    float shift[2] = {};
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      if (finish.bias != nullptr && first_output + column + k < outputs)
        shift[k] = finish.bias[first_output + column + k];
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int position = (warp / 2 * 4 + i) * kTileSide + lane / 4 + 8 * half;
        Vector<scalar_t, 2> pair;
#pragma unroll
        for (int k = 0; k < 2; ++k)
          pair.lane[k] = from_compute<scalar_t>(finish.of(sums[i][j][2 * half + k], shift[k]));
        *reinterpret_cast<uint32_t*>(staged + position * kStagedLine + column) =
            *reinterpret_cast<const uint32_t*>(&pair);
      }
    }
  }
  dev::sync_threads();
}

// `vector` at channels `channel` .. + 8 of the line that begins at `line` of a tensor with so many channels; what lies
// beyond the last is left out.
template <typename T>
__device__ inline void store_channels(T* tensor, int64_t line, int32_t channel, int32_t channels,
                                      const Vector<T, kLanes16>& vector) {
  if (channels % kLanes16 == 0) {
    if (channel < channels) store<kLanes16>(tensor + line + channel, vector);
    return;
  }
#pragma unroll
  for (int i = 0; i < kLanes16; ++i) {
    if (channel + i < channels) tensor[line + channel + i] = vector.lane[i];
  }
}

}  // namespace wwae

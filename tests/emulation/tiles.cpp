// How much of a convolution a block computes.
#include "cuda/unpool_conv2d_weight_backward.cuh"

#define WWAE_EXPORT extern "C" __attribute__((visibility("default")))

namespace wwae {

// {height, width, channels, depth} of implicit_gemm.cuh.
WWAE_EXPORT void emulation_convolution_tile(int64_t* tile) {
  for (int64_t length : {kTileSide, kTileSide, kTileOutputs, kDepth}) *tile++ = length;
}

// {channels o, channels i, pixels of a step} of unpool_conv2d_weight_backward.cuh.
WWAE_EXPORT void emulation_weight_gradient_tile(int64_t* tile) {
  for (int64_t length : {kGradientOutputs, kGradientInputs, kGradientPixels}) *tile++ = length;
}

}  // namespace wwae

#include "primitives.cuh"

#include "entry.h"

namespace wwae {

WWAE_ENTRY emulate_ldmatrix(const uint16_t* x, uint32_t* output) {
  EmulatedLaunch()(ldmatrix_kernel, Blocks{1, kWarp}, x, output);
}

WWAE_ENTRY emulate_primitives(const float* x, float* output) {
  EmulatedLaunch()(primitives_kernel, Blocks{1, kWarp, 1, 256}, x, output);
}

}  // namespace wwae

#include "cuda/unpool_conv2d.cuh"

#include "convolution.h"

namespace wwae {

WWAE_ENTRY emulate_unpool_conv2d(int64_t dtype, const void* x, const void* offsets, const void* weight,
                                 const void* bias, int64_t relu, void* output, const int64_t* convolution,
                                 const int64_t* geometry) {
  with_half(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    launch_unpool_conv2d(EmulatedLaunch(), static_cast<const scalar_t*>(x), static_cast<const uint8_t*>(offsets),
                         static_cast<const scalar_t*>(weight), static_cast<const float*>(bias), relu != 0,
                         static_cast<scalar_t*>(output), convolution_of(convolution), geometry_of(geometry));
  });
}

}  // namespace wwae

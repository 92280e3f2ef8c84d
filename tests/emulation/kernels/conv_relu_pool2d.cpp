#include "cuda/conv_relu_pool2d.cuh"

#include "convolution.h"

namespace wwae {

WWAE_ENTRY emulate_conv_relu_pool2d(int64_t dtype, const void* x, const void* weight, const void* bias, void* values,
                                    void* offsets, const int64_t* convolution, const int64_t* pool) {
  with_half(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    launch_conv_relu_pool2d(EmulatedLaunch(), static_cast<const scalar_t*>(x), static_cast<const scalar_t*>(weight),
                            static_cast<const float*>(bias), static_cast<scalar_t*>(values),
                            static_cast<uint8_t*>(offsets), convolution_of(convolution), geometry_of(pool));
  });
}

}  // namespace wwae

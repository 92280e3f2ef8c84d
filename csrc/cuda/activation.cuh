// What the taps of a window go through before pooling compares them: in float32 for 16-bit floats, rounded once.
//
// `of(channel)` gives a function of a tap and of whether it is real; one in the padding is -inf and stays it.
// `channel_at(image, channel, interleaved)` finds the channel from a place in the kernels' view of a map (tile.cuh), in
// which `interleaved` channels are neighbours.
#pragma once

#include <cmath>

#include "cuda/device.cuh"

namespace wwae {

template <typename scalar_t>
struct Identity {
  __device__ int64_t channel_at(int64_t, int64_t, int64_t) const { return 0; }

  __device__ auto of(int64_t) const {
    return [](scalar_t tap, bool) { return tap; };
  }
};

// Parameters of one number a channel, of which there are `channels`.
struct PerChannel {
  int64_t channels;

  // A contiguous map has one channel an image there: its images are the planes n * C + c.
  __device__ int64_t channel_at(int64_t image, int64_t channel, int64_t interleaved) const {
    return interleaved == channels ? channel : static_cast<int64_t>(static_cast<uint64_t>(image) % channels);
  }
};

// x where it is positive or NaN, else +0.
template <typename number>
__device__ inline number relu(number x) {
  return x <= 0 ? 0 : x;
}

// relu(x + bias).
template <typename scalar_t>
struct BiasReLU : PerChannel {
  const compute_t<scalar_t>* bias;  // [C]

  __device__ auto of(int64_t channel) const {
    return [bias = bias[channel]](scalar_t tap, bool real) {
      return real ? from_compute<scalar_t>(relu(to_compute(tap) + bias)) : tap;
    };
  }
};

// relu((x - mean) * scale + bias): with a large mean, better than a multiple of x and a large number. Not contracted,
// so that every backend picks the same tap.
template <typename scalar_t>
struct BatchNormReLU : PerChannel {
  const compute_t<scalar_t>* mean;  // [C], as are scale and bias
  const compute_t<scalar_t>* scale;
  const compute_t<scalar_t>* bias;

  __device__ auto of(int64_t channel) const {
    return [mean = mean[channel], scale = scale[channel], bias = bias[channel]](scalar_t tap, bool real) {
      return real ? from_compute<scalar_t>(relu(dev::product(to_compute(tap) - mean, scale) + bias)) : tap;
    };
  }
};

}  // namespace wwae

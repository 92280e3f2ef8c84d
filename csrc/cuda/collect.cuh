// What unpooling reads for a window, how a pixel adds up what it collects, and what becomes of the sum. In the first
// and the last of these the gradients of the operations with a ReLU before the pooling differ from plain unpooling.
#pragma once

#include "cuda/tile.cuh"
#include "cuda/vector.cuh"

namespace wwae {

// The values themselves; `word` may be the unsigned integer of an element's size.
template <typename word>
struct PlainValues {
  using type = word;
  const word* x;  // [N, C, OH, OW]

  bool aligned_to(int lanes) const { return aligned(x, lanes * sizeof(word)); }

  template <int N>
  __device__ Vector<word, N> at(int64_t address) const {
    return load<N>(x + address);
  }
};

// A gradient where the pooled value is positive or NaN, elsewhere 0, which ReLU's is.
template <typename scalar_t>
struct PassedGradient {
  using type = scalar_t;
  const scalar_t* grad;  // [N, C, OH, OW]
  const scalar_t* values;  // [N, C, OH, OW]

  bool aligned_to(int lanes) const {
    return aligned(grad, lanes * sizeof(scalar_t)) && aligned(values, lanes * sizeof(scalar_t));
  }

  template <int N>
  __device__ Vector<scalar_t, N> at(int64_t address) const {
    Vector<scalar_t, N> passed = load<N>(grad + address);
    const Vector<scalar_t, N> value = load<N>(values + address);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if (to_compute(value.lane[i]) <= 0) passed.lane[i] = from_compute<scalar_t>(0);
    }
    return passed;
  }
};

// The sum is the result.
struct AsCollected {
  static constexpr bool kNothing = true;

  bool aligned_to(int) const { return true; }

  // `pixels`, which lie at `address` of the map: N channels of a pixel from `channel` on, or, contiguous, N pixels.
  template <bool CONTIGUOUS, int N, typename T>
  __device__ Vector<T, N> of(const Vector<T, N>& pixels, int64_t, int64_t) const {
    return pixels;
  }
};

// 0, of an element or of the integer of its size.
template <typename word>
__device__ inline word nothing() {
  if constexpr (std::is_integral_v<word>) {
    return 0;
  } else {
    return from_compute<word>(0);
  }
}

// What a pixel collects from the windows that claim it, in raster order.
template <typename scalar_t, int N>
struct Claims {
  compute_t<scalar_t> total[N] = {};
  int32_t hits[N] = {};

  __device__ void add(int i, bool claimed, scalar_t value, Overlap overlap) {
    const compute_t<scalar_t> number = to_compute(value);
    if (claimed) {
      total[i] = overlap == Overlap::last ? number : total[i] + number;
      ++hits[i];
    }
  }

  // The sums, or their means, not yet rounded.
  __device__ Vector<compute_t<scalar_t>, N> pixels(Overlap overlap) const {
    Vector<compute_t<scalar_t>, N> result;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const bool divided = overlap == Overlap::mean && hits[i] > 1;
      result.lane[i] = divided ? total[i] / static_cast<compute_t<scalar_t>>(hits[i]) : total[i];
    }
    return result;
  }
};

template <typename scalar_t, int N>
__device__ inline Vector<scalar_t, N> rounded(const Vector<compute_t<scalar_t>, N>& numbers) {
  Vector<scalar_t, N> result;
#pragma unroll
  for (int i = 0; i < N; ++i) result.lane[i] = from_compute<scalar_t>(numbers.lane[i]);
  return result;
}

}  // namespace wwae

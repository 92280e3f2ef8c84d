// Where the taps of a pooling window stand, for one axis and for both. Plain C++: no torch types, usable in host and
// device code, so kernels that include it also build without PyTorch.
//
// A window `o` of an axis owns the taps t = 0 .. kernel - 1; tap t stands at o * stride - padding + t * dilation. A tap
// is real when it stands inside [0, input). A switch (offset) names the tap (r, c) of a window as r * kernel_w + c.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define WWAE_HOST_DEVICE __host__ __device__
#else
#define WWAE_HOST_DEVICE
#endif

namespace wwae {

template <typename index_t>
WWAE_HOST_DEVICE constexpr index_t ceil_divide(index_t numerator, index_t denominator) {  // denominator > 0
  return numerator / denominator + (numerator % denominator > 0 ? 1 : 0);
}

template <typename index_t>
WWAE_HOST_DEVICE constexpr index_t floor_divide(index_t numerator, index_t denominator) {  // denominator > 0
  return numerator / denominator - (numerator % denominator < 0 ? 1 : 0);
}

// Half-open range [begin, end); empty when end <= begin.
template <typename index_t>
struct Range {
  index_t begin;
  index_t end;
};

// One axis of a pooling geometry. All lengths are in elements of that axis.
template <typename index_t>
struct BasicAxis {
  index_t input;  // length of the full-resolution axis
  index_t output;  // number of windows
  index_t kernel;
  index_t stride;
  index_t padding;
  index_t dilation;

  // Distance from the first to one past the last tap of a window.
  WWAE_HOST_DEVICE constexpr index_t extent() const { return (kernel - 1) * dilation + 1; }

  // Position of the first tap of a window; negative inside the padding.
  WWAE_HOST_DEVICE constexpr index_t start(index_t window) const { return window * stride - padding; }

  WWAE_HOST_DEVICE constexpr index_t position(index_t window, index_t tap) const {
    return start(window) + tap * dilation;
  }

  WWAE_HOST_DEVICE constexpr bool contains(index_t position) const { return position >= 0 && position < input; }

  // No two windows share a position, so the three overlap modes of unpooling agree.
  WWAE_HOST_DEVICE constexpr bool disjoint() const { return stride >= extent(); }

  // Real taps of a window.
  WWAE_HOST_DEVICE constexpr Range<index_t> taps(index_t window) const {
    const index_t begin = start(window) < 0 ? ceil_divide(-start(window), dilation) : 0;
    const index_t end = ceil_divide(input - start(window), dilation);
    return {begin, end < kernel ? end : kernel};
  }

  // Windows in which `tap` is real.
  WWAE_HOST_DEVICE constexpr Range<index_t> windows_with(index_t tap) const {
    const index_t shift = tap * dilation - padding;  // the tap stands at window * stride + shift
    const index_t begin = shift < 0 ? ceil_divide(-shift, stride) : 0;
    const index_t end = ceil_divide(input - shift, stride);
    return {begin < output ? begin : output, end < 0 ? 0 : (end < output ? end : output)};
  }

  // Windows whose taps are all real.
  WWAE_HOST_DEVICE constexpr Range<index_t> whole_windows() const {
    const index_t begin = windows_with(0).begin;
    const index_t end = windows_with(kernel - 1).end;
    return {begin, end < begin ? begin : end};
  }

  // Windows whose extent covers `position`; with dilation only some of them own a tap that stands there.
  WWAE_HOST_DEVICE constexpr Range<index_t> windows_over(index_t position) const {
    const index_t begin = ceil_divide(position + padding - extent() + 1, stride);
    const index_t end = floor_divide(position + padding, stride) + 1;
    return {begin > 0 ? begin : 0, end < output ? end : output};
  }

  // Tap of `window` that stands at `position`, or -1.
  WWAE_HOST_DEVICE constexpr index_t tap_at(index_t window, index_t position) const {
    const index_t distance = position - start(window);
    return distance >= 0 && distance < extent() && distance % dilation == 0 ? distance / dilation : -1;
  }

  // The same axis with another index type; the caller has checked that every length fits.
  template <typename other_t>
  constexpr BasicAxis<other_t> as() const {
    return {static_cast<other_t>(input),  static_cast<other_t>(output),  static_cast<other_t>(kernel),
            static_cast<other_t>(stride), static_cast<other_t>(padding), static_cast<other_t>(dilation)};
  }
};

// Number of windows along an axis by PyTorch's rule: with ceil_mode the last window may hang over the end, but it has
// to start inside the input or its left padding.
WWAE_HOST_DEVICE constexpr int64_t window_count(int64_t input, int64_t kernel, int64_t stride, int64_t padding,
                                                int64_t dilation, bool ceil_mode) {
  const int64_t span = input + 2 * padding - dilation * (kernel - 1) - 1 + (ceil_mode ? stride - 1 : 0);
  const int64_t count = floor_divide(span, stride) + 1;
  return ceil_mode && (count - 1) * stride >= input + padding ? count - 1 : count;
}

template <typename index_t>
struct BasicGeometry {
  BasicAxis<index_t> h;
  BasicAxis<index_t> w;

  WWAE_HOST_DEVICE constexpr index_t taps() const { return h.kernel * w.kernel; }
  WWAE_HOST_DEVICE constexpr bool disjoint() const { return h.disjoint() && w.disjoint(); }

  template <typename other_t>
  constexpr BasicGeometry<other_t> as() const {
    return {h.template as<other_t>(), w.template as<other_t>()};
  }
};

using Axis = BasicAxis<int64_t>;
using Geometry = BasicGeometry<int64_t>;

// What unpooling does where several windows point at one pixel.
enum class Overlap : int { last, sum, mean };

}  // namespace wwae

// The softmax of a window: what soft_argmax_pool2d and its gradient share.
//
// With weights w = softmax of beta times the real taps z, the maximum subtracted first: mean = sum of w (z - maximum),
// (x, y) = sum of w (position of the tap), positions running from -1 to 1. A tap infinitely far below the maximum has
// no weight, equal infinities are at distance 0, and a NaN makes the window NaN. 16-bit floats are computed in float32.
#pragma once

#include <cmath>

#include "cuda/tile.cuh"
#include "cuda/vector.cuh"

namespace wwae {

// 8 bytes per thread, 4 bf16 or 2 fp32: a window has five sums and its pair of positions besides.
template <typename scalar_t>
constexpr int kSoftLanes = 8 / sizeof(scalar_t);

// One beta for every plane, in any strides.
template <typename sum_t>
struct PlaneBeta {
  const sum_t* values;  // [N, C]
  int64_t image_stride;  // in elements
  int64_t channel_stride;
  int32_t planes;  // C where the kernels see every plane as an image, 0 where they see channels

  // NaN for a value that is negative or not finite.
  __device__ sum_t at(int64_t image, int64_t channel) const {
    if (planes > 0) {
      const Quotient plane = divide(image, planes);
      image = plane.quotient;
      channel = plane.remainder;
    }
    const sum_t value = values[image * image_stride + channel * channel_stride];
    return value >= 0 && value < static_cast<sum_t>(INFINITY) ? value : static_cast<sum_t>(NAN);
  }
};

// The soft operations have no dilation.
template <int KERNEL>
__host__ __device__ constexpr Geometry32 soft_geometry(Geometry32 geometry) {
  geometry = specialise<KERNEL>(geometry);
  geometry.h.dilation = geometry.w.dilation = 1;
  return geometry;
}

// The real taps of a window.
struct RealTaps {
  Range<int32_t> rows;
  Range<int32_t> columns;

  __device__ RealTaps(const Geometry32& g, int32_t oh, int32_t ow) : rows(g.h.taps(oh)), columns(g.w.taps(ow)) {}

  // Calls `body(r, c)` for each in raster order; all of a known KERNEL are unrolled, so that arrays of taps stay in
  // registers.
  template <int KERNEL, typename Body>
  __device__ void each(const Body& body) const {
    if constexpr (KERNEL > 0) {
#pragma unroll
      for (int r = 0; r < KERNEL; ++r) {
#pragma unroll
        for (int c = 0; c < KERNEL; ++c) {
          if (r >= rows.begin && r < rows.end && c >= columns.begin && c < columns.end) body(r, c);
        }
      }
    } else {
      for (int32_t r = rows.begin; r < rows.end; ++r) {
        for (int32_t c = columns.begin; c < columns.end; ++c) body(r, c);
      }
    }
  }
};

// Where tap number `tap` stands on an axis, up to rounding.
template <typename sum_t>
__device__ inline sum_t tap_position(int32_t tap, int32_t kernel) {
  return static_cast<sum_t>(2 * tap - (kernel - 1)) * (1 / static_cast<sum_t>(kernel > 1 ? kernel - 1 : 1));
}

// How far a tap lies below the maximum, and its power; 0 and 0 if infinitely far.
template <typename sum_t>
struct Power {
  sum_t below;
  sum_t power;

  __device__ Power(sum_t value, sum_t maximum, sum_t beta) {
    const sum_t far = value == maximum ? 0 : value - maximum;
    const bool lost = far == -static_cast<sum_t>(INFINITY);
    below = lost ? 0 : far;
    power = lost ? 0 : std::exp(beta * below);
  }
};

// Of one window.
template <typename sum_t>
struct SoftNumbers {
  sum_t maximum;
  sum_t total;  // of the powers
  sum_t mean;
  sum_t x;
  sum_t y;
};

template <typename sum_t>
__device__ inline sum_t within_bounds(sum_t position) {  // a NaN stays
  return position > 1 ? 1 : position < -1 ? -1 : position;
}

// Of N windows with the same real taps; `tap(r, c)` gives the Vector<scalar_t, N> of their taps (r, c).
template <int KERNEL, typename sum_t, int N, typename Tap>
__device__ inline void soft_window(const Geometry32& g, const RealTaps& real, const sum_t (&beta)[N], const Tap& tap,
                                   SoftNumbers<sum_t> (&windows)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) windows[i] = {-static_cast<sum_t>(INFINITY), 0, 0, 0, 0};
  real.each<KERNEL>([&](int32_t r, int32_t c) {
    const auto values = tap(r, c);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const sum_t value = to_compute(values.lane[i]);
      if (value > windows[i].maximum) windows[i].maximum = value;  // a NaN shows in the powers
    }
  });
  real.each<KERNEL>([&](int32_t r, int32_t c) {
    const auto values = tap(r, c);
    const sum_t x = tap_position<sum_t>(c, g.w.kernel);
    const sum_t y = tap_position<sum_t>(r, g.h.kernel);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const Power<sum_t> of(to_compute(values.lane[i]), windows[i].maximum, beta[i]);
      windows[i].total += of.power;
      windows[i].mean += of.power * of.below;
      windows[i].x += of.power * x;
      windows[i].y += of.power * y;
    }
  });
#pragma unroll
  for (int i = 0; i < N; ++i) {
    windows[i].mean /= windows[i].total;
    windows[i].x = within_bounds(windows[i].x / windows[i].total);
    windows[i].y = within_bounds(windows[i].y / windows[i].total);
  }
}

// The pairs at positions address .. address + N of a map. Several are aligned to their size, or to 16 bytes.
template <int N, typename sum_t>
__device__ inline Vector<sum_t, 2 * N> load_pairs(const sum_t* pairs, int64_t address) {
  if constexpr (N == 1) {
    return {{pairs[2 * address], pairs[2 * address + 1]}};
  } else {
    return load<2 * N>(pairs + 2 * address);
  }
}

template <int N, typename sum_t>
__device__ inline void store_pairs(sum_t* pairs, int64_t address, const Vector<sum_t, 2 * N>& values) {
  if constexpr (N == 1) {
    pairs[2 * address] = values.lane[0];
    pairs[2 * address + 1] = values.lane[1];
  } else {
    store<2 * N>(pairs + 2 * address, values);
  }
}

// Whether every pixel of a map lies in exactly one window.
inline bool tiled(const Geometry32& g) {
  const auto tiles = [](const BasicAxis<int32_t>& axis) {
    return axis.stride == axis.kernel && axis.padding == 0 && axis.input == axis.output * axis.kernel;
  };
  return tiles(g.h) && tiles(g.w);
}

}  // namespace wwae

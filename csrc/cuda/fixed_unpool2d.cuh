// Unpooling without switches: every value goes to the same tap of its window.
//
//   output[n, c, h * SH + r, w * SW + c'] = x[n, c, h, w] where that lies on the output, 0 elsewhere
//
//   x       [N, C, OH, OW]  float, double, bf16, half; contiguous or channels_last, the output likewise
//   output  [N, C, H, W]    as x; every element is written once: deterministic
//
// The kernels of switch_unpool2d with one constant offset, r * SW + c', in windows that fill their cells. Bytes moved
// per pixel, 16-bit floats, stride 2: 0.5 + 2.
#pragma once

#include "cuda/switch_unpool2d.cuh"

namespace wwae {

// One axis: `windows` values, every `stride` pixels of `size`, the first at `position`. A position inside its stride is
// a tap of a window that fills the stride; one beyond is the only tap of a window that starts there.
inline BasicAxis<int32_t> fixed_axis(int32_t size, int32_t windows, int32_t stride, int32_t position, bool inside) {
  return {size, windows, inside ? stride : 1, stride, inside ? 0 : -position, 1};
}

template <typename scalar_t, typename Launch>
void launch_fixed_unpool2d(const Launch& launch, const scalar_t* x, scalar_t* output, const int32_t (&size)[2],
                           const int32_t (&windows)[2], const int32_t (&stride)[2], const int32_t (&position)[2],
                           int64_t images, int64_t channels) {
  const bool inside = position[0] < stride[0] && position[1] < stride[1];
  const Geometry32 g = {fixed_axis(size[0], windows[0], stride[0], position[0], inside),
                        fixed_axis(size[1], windows[1], stride[1], position[1], inside)};
  const FixedSwitches switches = {inside ? position[0] * stride[1] + position[1] : 0};
  launch_switch_unpool2d(launch, x, switches, output, g, images, channels, Overlap::last);
}

}  // namespace wwae

// The transpose of max_unpool2d: every window reads the pixel its int64 index names.
//
//   output[n, c, oh, ow] = x[n, c].flat[indices[n, c, oh, ow]] if (oh, ow) is the last window, in raster order, with
//                          that index, else 0
//
//   x        [N, C, H, W]    float, double, bf16, half; contiguous or channels_last, all others likewise
//   indices  [N, C, OH, OW]  int64, h * W + w in every layout
//   owner    [N, C, H, W]    as max_unpool2d's claim kernel left it: the last window with each index, or -1
//   output   [N, C, OH, OW]  as x; every element is written once: deterministic
//
// An index outside the plane gathers 0; the claim kernel has tripped an assertion for it. Bytes moved per element of x,
// 16-bit floats, 2 x 2: 4 to fill the owners, 2 + 4 to claim, 2 + 4 + 2 + 0.5 to gather.
#pragma once

#include "cuda/max_unpool2d.cuh"

namespace wwae {

// rows: windows, numbered as they lie in memory; columns: 1.
template <typename word, typename owner_t>
__global__ void max_gather2d_kernel(const word* x, const int64_t* indices, const owner_t* owner, word* output,
                                    Planes windows, Planes pixels, Tiling tiling) {
  const Place at = place(tiling);
  if (!at.inside) return;
  const PlaneElement window(at.row, windows);
  const int64_t index = indices[at.row];
  word value = 0;
  if (index >= 0 && index < pixels.size) {
    const int64_t pixel = pixels.address(window.image, index, window.channel);
    if (owner[pixel] == window.position) value = x[pixel];
  }
  output[at.row] = value;
}

template <typename word, typename owner_t, typename Launch>
void launch_max_gather2d(const Launch& launch, const word* x, const int64_t* indices, const owner_t* owner,
                         word* output, const Planes& windows, const Planes& pixels, int64_t images) {
  const int64_t elements = images * windows.size * windows.channels;
  launch(max_gather2d_kernel<word, owner_t>, tile(elements, 1), x, indices, owner, output, windows, pixels);
}

}  // namespace wwae

// Unpooling by PyTorch's int64 indices: output[n, c].flat[indices[n, c, oh, ow]] = x[n, c, oh, ow], 0 elsewhere.
//
//   x        [N, C, OH, OW]  float, double, bf16, half; contiguous or channels_last, all others likewise
//   indices  [N, C, OH, OW]  int64, h * W + w in every layout
//   owner    [N, C, H, W]    int32, or int64 where a plane has 2^31 windows; -1 at first
//   output   [N, C, H, W]    as x
//
// Where several windows have one index, the last in raster order wins. Indices do not say which windows may reach a
// pixel, so two passes go over the owner map:
//   claim  owner[index] = max(owner[index], oh * OW + ow): an integer atomic, whose result does not depend on order
//   place  output[pixel] = x[owner[pixel]], 0 where nobody claimed
// Deterministic, no float atomics. An index outside the plane writes nothing and trips a device assertion.
//
// Bytes moved per pixel, 16-bit floats, 2 x 2: 4 to fill the owners, 2 + 4 to claim, 4 + 0.5 + 2 to place.
#pragma once

#include "cuda/tile.cuh"
#include "cuda/vector.cuh"

namespace wwae {

// Planes of `size` elements, `channels` of them interleaved in an image. Lengths in elements.
struct Planes {
  int64_t size;
  int64_t channels;

  __device__ int64_t address(int64_t image, int64_t position, int64_t channel) const {
    return (image * size + position) * channels + channel;
  }
};

// An element's place in the interleaved planes; `advance` walks to its neighbour in memory.
struct PlaneElement {
  int64_t image;
  int64_t position;
  int64_t channel;

  __device__ PlaneElement(int64_t address, const Planes& planes) {
    const int64_t pixel = static_cast<uint64_t>(address) / static_cast<uint64_t>(planes.channels);
    image = static_cast<uint64_t>(pixel) / static_cast<uint64_t>(planes.size);
    channel = address - pixel * planes.channels;
    position = pixel - image * planes.size;
  }

  __device__ void advance(const Planes& planes) {
    if (++channel < planes.channels) return;
    channel = 0;
    if (++position < planes.size) return;
    position = 0;
    ++image;
  }
};

// rows: windows, numbered as they lie in memory; columns: 1.
template <typename owner_t>
__global__ void max_unpool2d_claim_kernel(const int64_t* indices, owner_t* owner, Planes windows, Planes pixels,
                                          Tiling tiling) {
  const Place at = place(tiling);
  if (!at.inside) return;
  const PlaneElement window(at.row, windows);
  const int64_t index = indices[at.row];
  const bool inside = index >= 0 && index < pixels.size;
  WWAE_DEVICE_ASSERT(inside && "found an invalid max index");
  if (!inside) return;
  dev::atomic_max(owner + pixels.address(window.image, index, window.channel), static_cast<owner_t>(window.position));
}

// rows: vectors of LANES elements of the output, of which there are `elements`; columns: 1.
template <typename word, typename owner_t, int LANES>
__global__ void max_unpool2d_place_kernel(const word* x, const owner_t* owner, word* output, Planes windows,
                                          Planes pixels, int64_t elements, Tiling tiling) {
  const Place at = place(tiling);
  if (!at.inside) return;
  const int64_t first = at.row * LANES;
  PlaneElement element(first, pixels);
  if (elements - first >= LANES) {
    const Vector<owner_t, LANES> owners = load<LANES>(owner + first);
    Vector<word, LANES> values;
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
      const int64_t window = owners.lane[i];
      values.lane[i] = window >= 0 ? x[windows.address(element.image, window, element.channel)] : word{0};
      element.advance(pixels);
    }
    store<LANES>(output + first, values);
  } else {
    for (int64_t i = first; i < elements; ++i) {
      const int64_t window = owner[i];
      output[i] = window >= 0 ? x[windows.address(element.image, window, element.channel)] : word{0};
      element.advance(pixels);
    }
  }
}

template <typename owner_t, typename Launch>
void launch_max_unpool2d_claim(const Launch& launch, const int64_t* indices, owner_t* owner, const Planes& windows,
                               const Planes& pixels, int64_t images) {
  const int64_t elements = images * windows.size * windows.channels;
  launch(max_unpool2d_claim_kernel<owner_t>, tile(elements, 1), indices, owner, windows, pixels);
}

template <typename word, typename owner_t, typename Launch>
void launch_max_unpool2d_place(const Launch& launch, const word* x, const owner_t* owner, word* output,
                               const Planes& windows, const Planes& pixels, int64_t images) {
  constexpr int kLanes = kVectorBytes / sizeof(word);
  const int64_t elements = images * pixels.size * pixels.channels;
  launch(max_unpool2d_place_kernel<word, owner_t, kLanes>, tile(ceil_divide<int64_t>(elements, kLanes), 1), x, owner,
         output, windows, pixels, elements);
}

}  // namespace wwae

// Unpooling, convolution, bias and ReLU in one kernel: the unpooled map is never written.
//
//   output[n, o, h, w] = sum over (c, r, s) of U[n, c, h + r - PH, w + s - PW] * weight[o, c, r, s] + bias[o]
//
// then, if asked for, ReLU. U is the unpooled map (unpooled_patch.cuh): every x at its switch, the last one of windows
// that overlap, else 0.
//
//   x        [N, C, OH, OW]  bf16, half; channels_last, as are offsets and output
//   offsets  [N, C, OH, OW]  uint8
//   weight   [O, C, KH, KW]  as x, channels_last
//   bias     [O]             float, or none
//   output   [N, O, H + 2 PH - KH + 1, W + 2 PW - KW + 1]  as x, for U of H x W
//
// The convolution has stride 1, dilation 1 and one group. Sums are float, in the order of implicit_gemm.cuh, and
// rounded once; every output is written once, by one thread: deterministic. With the weights of the other direction
// (outputs and inputs exchanged, taps turned round) it is the gradient of conv_relu_pool2d in its input.
//
// A block computes 16 x 16 positions by 64 channels (implicit_gemm.cuh). The patch of U is made in shared memory, a
// thread looking up 8 channels of a pixel in the windows over it; while a chunk is multiplied the next patch is made.
//
// Three of four pixels of 2 x 2 windows are 0, but structured-sparse products do not pay here: two of four neighbours
// along the inner dimension have to be 0, so it would have to run over the taps of a window, and which taps share a
// window depends on the parity of a position. 3 x 3 taps touch 2 x 2 windows in parts of 4, 2, 2 and 1 taps: four
// groups of four, at twice the rate as long as 8 dense taps, in place of 9, for rows sorted by parity and metadata made
// of switches.
//
// Bytes moved per pixel, 16-bit floats, 2 x 2: 0.5 + 0.25 + 2, for as many channels out as in, and the weights, which
// stay in the cache, as do a tile's neighbours: 18 x 18 pixels are looked up for 16 x 16, once for each 64 channels o.
#pragma once

#include "cuda/gemm_epilogue.cuh"
#include "cuda/implicit_gemm.cuh"
#include "cuda/unpooled_patch.cuh"

namespace wwae {

// The patches of a tile of an unpooled map.
template <Unpooling KIND>
struct UnpooledPatch {
  using Asked = typename UnpooledMap<KIND>::Asked;

  const UnpooledMap<KIND>& map;
  int32_t image;
  PatchPixels pixels;

  __device__ UnpooledPatch(const UnpooledMap<KIND>& map, const Convolution& conv, const ConvolutionTile& tile)
      : map(map), image(tile.image), pixels(conv, tile) {}

  __device__ Asked begin(Word*, int32_t channel, int piece) const {
    const PatchVector<kDepthVectors> own(piece);
    const int row = pixels.row(own.pixel);
    return map.at(image, pixels.h + row, pixels.w + own.pixel - row * pixels.width, channel + own.channel());
  }
  __device__ void end(Word* patch, int piece, const Asked& asked) const {
    const PatchVector<kDepthVectors> own(piece);
    if (own.pixel < pixels.count) place_words(patch + own.place(), asked.pixel());
  }
};

template <typename scalar_t, Unpooling KIND>
__global__ void WWAE_LAUNCH_BOUNDS(kGemmThreads, 2)
    unpool_conv2d_kernel(UnpooledMap<KIND> map, const Word* weight, BiasAndReLU finish, scalar_t* output,
                         Convolution conv, TileGrid grid) {
  WWAE_DYNAMIC_SHARED(shared);
  const ConvolutionTile tile = grid.tile(conv, blockIdx.x);
  Sums sums = {};
  convolve_tile<scalar_t, KIND != Unpooling::ragged>(sums, reinterpret_cast<Word*>(shared), conv, weight, tile.output,
                                                     UnpooledPatch<KIND>(map, conv, tile));
  scalar_t* const staged = reinterpret_cast<scalar_t*>(shared);
  stage_results(staged, sums, finish, tile.output, conv.outputs);

  constexpr int vectors = kTileOutputs / kLanes16;
  for (int task = static_cast<int>(threadIdx.x); task < kTileSide * kTileSide * vectors; task += kGemmThreads) {
    const int position = task / vectors;
    const int column = task % vectors * kLanes16;
    const int32_t h = tile.h + position / kTileSide;
    const int32_t w = tile.w + position % kTileSide;
    if (h >= conv.output_height() || w >= conv.output_width()) continue;
    const int32_t pixel = (tile.image * conv.output_height() + h) * conv.output_width() + w;
    const int64_t line = static_cast<int64_t>(pixel) * conv.outputs;
    store_channels(output, line, tile.output + column, conv.outputs,
                   load<kLanes16>(staged + position * kStagedLine + column));
  }
}

// `geometry` is the one of the unpooling; conv.height and conv.width are those of the unpooled map. The caller has seen
// that gemm_shared_bytes is at most kMostGemmShared.
template <typename scalar_t, typename Launch>
void launch_unpool_conv2d(const Launch& launch, const scalar_t* x, const uint8_t* offsets, const scalar_t* weight,
                          const float* bias, bool relu, scalar_t* output, const Convolution& conv,
                          const Geometry32& geometry) {
  const TileGrid grid = {ceil_divide(conv.output_height(), kTileSide),
                         ceil_divide(conv.output_width(), kTileSide),
                         kTileSide,
                         kTileSide,
                         0,
                         0};
  with_unpooled_map(x, offsets, geometry, conv.channels, aligned(weight, kVectorBytes), [&](const auto& map) {
    launch(unpool_conv2d_kernel<scalar_t, std::decay_t<decltype(map)>::kKind>,
           Blocks{grid.blocks(conv), kGemmThreads, 1, static_cast<int>(gemm_shared_bytes(conv))}, map,
           reinterpret_cast<const Word*>(weight), BiasAndReLU{bias, relu}, output, conv, grid);
  });
}

}  // namespace wwae

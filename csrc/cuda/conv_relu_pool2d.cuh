// Convolution, bias, ReLU and max pooling in one kernel: the convolved map is never written.
//
//   values[n, o, oh, ow]  = max over the real taps of relu(convolution of x at the tap + bias[o])
//   offsets[n, o, oh, ow] = the tap's offset in its window, as in switch_pool2d
//
//   x        [N, C, H, W]    bf16, half; channels_last, the outputs likewise
//   weight   [O, C, KH, KW]  as x, channels_last
//   bias     [O]             float, or none
//   values   [N, O, OH, OW]  as x
//   offsets  [N, O, OH, OW]  uint8
//
// The convolution has stride 1, any padding, dilation 1 and one group. Sums are float, in the order of
// implicit_gemm.cuh, and rounded to the dtype of x before they are compared: ties, NaN, padding and windows without a
// real tap as in switch_pool2d. A window of which ReLU leaves nothing has value 0 and the offset of its first real tap.
// Every output is written once, by one thread: deterministic.
//
// A block computes 16 x 16 positions of the convolution by 64 channels (implicit_gemm.cuh), stages them in shared
// memory and pools the windows that lie in them: windows 2 x 2 / 2 fill the tile, 3 x 3 / 2 overlap and leave 7 x 7 of
// them, 196 of 256 positions that no other block computes. Any window of at most 16 x 16 is taken.
//
// Bytes moved per element of x, 16-bit floats, 2 x 2: 2 + 0.5 + 0.25, for as many channels out as in, and the weights,
// which stay in the cache, as do a tile's neighbours: 18 x 18 pixels are asked for 16 x 16, once for each 64 channels
// o.
#pragma once

#include "cuda/gemm_epilogue.cuh"
#include "cuda/implicit_gemm.cuh"
#include "cuda/switch_pool2d.cuh"

namespace wwae {

// The patches of a tile of a map that lies in global memory.
template <bool WHOLE>
struct MapPatch {
  struct Asked {};  // nothing is left to do

  const Word* image;  // [H, W, C]
  const Convolution& conv;
  PatchPixels pixels;

  __device__ MapPatch(const Word* x, const Convolution& conv, const ConvolutionTile& tile)
      : image(x + static_cast<int64_t>(tile.image) * conv.height * conv.width * conv.channels),
        conv(conv),
        pixels(conv, tile) {}

  __device__ Asked begin(Word* patch, int32_t channel, int piece) const {
    const PatchVector<kDepthVectors> own(piece);
    if (own.pixel >= pixels.count) return {};
    const int row = pixels.row(own.pixel);
    const int32_t h = pixels.h + row;
    const int32_t w = pixels.w + own.pixel - row * pixels.width;
    const bool real = h >= 0 && h < conv.height && w >= 0 && w < conv.width;
    const int64_t line = static_cast<int64_t>(real ? h * conv.width + w : 0) * conv.channels;
    copy_words<WHOLE>(patch + own.place(), image, line, channel + own.channel(), conv.channels, real);
    return {};
  }
  __device__ void end(Word*, int, Asked) const {}
};

// Windows along an axis whose taps lie in one tile; 0 where not even one's do.
inline int32_t tile_windows(const BasicAxis<int32_t>& axis) {
  return axis.extent() > kTileSide ? 0 : (kTileSide - axis.extent()) / axis.stride + 1;
}

template <typename scalar_t, bool WHOLE>
__global__ void WWAE_LAUNCH_BOUNDS(kGemmThreads, 2)
    conv_relu_pool2d_kernel(const Word* x, const Word* weight, BiasAndReLU finish, scalar_t* values, uint8_t* offsets,
                            Convolution conv, Geometry32 pool, TileGrid grid, int32_t windows_h, int32_t windows_w) {
  WWAE_DYNAMIC_SHARED(shared);
  const ConvolutionTile tile = grid.tile(conv, blockIdx.x);
  Sums sums = {};
  convolve_tile<scalar_t, WHOLE>(sums, reinterpret_cast<Word*>(shared), conv, weight, tile.output,
                                 MapPatch<WHOLE>(x, conv, tile));
  scalar_t* const staged = reinterpret_cast<scalar_t*>(shared);
  stage_results(staged, sums, finish, tile.output, conv.outputs);

  constexpr int vectors = kTileOutputs / kLanes16;
  const int32_t oh0 = (tile.h - grid.first_h) / pool.h.stride;
  const int32_t ow0 = (tile.w - grid.first_w) / pool.w.stride;
  for (int task = static_cast<int>(threadIdx.x); task < windows_h * windows_w * vectors; task += kGemmThreads) {
    const int column = task % vectors * kLanes16;
    const int32_t oh = oh0 + task / vectors / windows_w;
    const int32_t ow = ow0 + task / vectors % windows_w;
    if (oh >= pool.h.output || ow >= pool.w.output) continue;
    const Range<int32_t> rows = pool.h.taps(oh);
    const Range<int32_t> columns = pool.w.taps(ow);
    const bool empty = rows.begin >= rows.end || columns.begin >= columns.end;
    Maximum<scalar_t, kLanes16> maximum(empty ? 0 : rows.begin * pool.w.kernel + columns.begin);
    for (int32_t r = rows.begin; r < rows.end; ++r) {
      for (int32_t c = columns.begin; c < columns.end; ++c) {
        const int position = (pool.h.position(oh, r) - tile.h) * kTileSide + pool.w.position(ow, c) - tile.w;
        const auto tap = load<kLanes16>(staged + position * kStagedLine + column);
#pragma unroll
        for (int i = 0; i < kLanes16; ++i) maximum.take(i, tap.lane[i], r * pool.w.kernel + c);
      }
    }
    const int32_t window = (tile.image * pool.h.output + oh) * pool.w.output + ow;
    const int64_t line = static_cast<int64_t>(window) * conv.outputs;
    Vector<scalar_t, kLanes16> best;
    Vector<uint8_t, kLanes16> taken;
#pragma unroll
    for (int i = 0; i < kLanes16; ++i) {
      best.lane[i] = from_compute<scalar_t>(maximum.best[i]);
      taken.lane[i] = static_cast<uint8_t>(maximum.offset[i]);
    }
    store_channels(values, line, tile.output + column, conv.outputs, best);
    store_channels(offsets, line, tile.output + column, conv.outputs, taken);
  }
}

// `pool` is the pooling of the convolved map. The caller has seen that tile_windows of both axes is not 0 and that
// gemm_shared_bytes is at most kMostGemmShared.
template <typename scalar_t, typename Launch>
void launch_conv_relu_pool2d(const Launch& launch, const scalar_t* x, const scalar_t* weight, const float* bias,
                             scalar_t* values, uint8_t* offsets, const Convolution& conv, const Geometry32& pool) {
  const bool whole = conv.channels % kLanes16 == 0 && aligned(x, kVectorBytes) && aligned(weight, kVectorBytes);
  const int32_t windows_h = tile_windows(pool.h);
  const int32_t windows_w = tile_windows(pool.w);
  const TileGrid grid = {ceil_divide(pool.h.output, windows_h),
                         ceil_divide(pool.w.output, windows_w),
                         windows_h * pool.h.stride,
                         windows_w * pool.w.stride,
                         -pool.h.padding,
                         -pool.w.padding};
  const auto run = [&](auto kernel) {
    launch(kernel, Blocks{grid.blocks(conv), kGemmThreads, 1, static_cast<int>(gemm_shared_bytes(conv))},
           reinterpret_cast<const Word*>(x), reinterpret_cast<const Word*>(weight), BiasAndReLU{bias, true}, values,
           offsets, conv, pool, grid, windows_h, windows_w);
  };
  whole ? run(conv_relu_pool2d_kernel<scalar_t, true>) : run(conv_relu_pool2d_kernel<scalar_t, false>);
}

}  // namespace wwae

// The gradient of unpool_conv2d in its weight, without the unpooled map.
//
//   grad[o, i, r, s] = sum over (n, h, w) of dense[n, o, h, w] * U[n, i, h + r - PH, w + s - PW]
//
// U is the unpooled map (unpooled_patch.cuh): every x at its switch, the last one of windows that overlap, else 0.
//
//   x        [N, I, OH, OW]  bf16, half; channels_last, as are offsets and dense
//   offsets  [N, I, OH, OW]  uint8
//   dense    [N, O, H', W']  as x
//   partial  [P, O, KH, KW, I]  float: sums of P parts of the pixels
//   grad     [O, I, KH, KW]  as x, contiguous
//
// The pixels (n, h, w) are the inner dimension of the product. They are cut into tiles of 8 x 8, the tiles into P equal
// parts, each of which a block adds up in float, tile by tile; a second kernel adds the parts in double, first to last,
// and rounds. P depends on the shape alone: deterministic, no atomics.
//
// A block of 8 warps has 64 channels o, 32 channels i and 3 x 3 taps, a warp 16 by 16 by 9. A tile of `dense` and the
// patch of 10 x 10 pixels of U that its taps see are in shared memory, two of each: while one tile is multiplied the
// next one is fetched, with one barrier a tile. The pixels are the inner dimension of both operands, so `ldmatrix`
// transposes them. Lines are swizzled as in implicit_gemm.cuh: eight rows of a matrix are eight pixels that follow one
// another, and lie in all 32 banks, `dense` with v ^ l % 8 for its eight vectors a line. 29184 bytes.
//
// Bytes moved per pixel, 16-bit floats, 2 x 2: 0.5 + 0.25 + 2, for as many channels o as i, and the partial sums.
// `dense` is asked for once for each 32 channels i, x once for each 64 channels o; those blocks follow one another.
#pragma once

#include <algorithm>

#include "cuda/implicit_gemm.cuh"
#include "cuda/unpooled_patch.cuh"

namespace wwae {

constexpr int kGradientTaps = 3;  // of a block, along each axis
constexpr int kGradientSide = 8;  // of a tile of pixels
constexpr int kGradientPixels = kGradientSide * kGradientSide;
constexpr int kGradientOutputs = 64;  // channels of `dense`
constexpr int kGradientInputs = 32;  // channels of U
constexpr int kDenseVectors = kGradientOutputs / kLanes16;
constexpr int kUnpooledVectors = kGradientInputs / kLanes16;
constexpr int kGradientPatchSide = kGradientSide + kGradientTaps - 1;
constexpr int kGradientPatchPixels = kGradientPatchSide * kGradientPatchSide;
constexpr int kDenseStage = kGradientPixels * kGradientOutputs;  // elements
constexpr int kGradientStage = kDenseStage + kGradientPatchPixels * kGradientInputs;
constexpr int kGradientShared = 2 * kGradientStage * static_cast<int>(sizeof(Word));

// What is added up, and how it is cut. `conv` is the convolution of U whose weight is asked for; `dense` is as its
// result.
struct WeightGradient {
  Convolution conv;
  int32_t tiles_h;  // of a map
  int32_t tiles_w;
  int32_t tap_rows;  // blocks side by side
  int32_t tap_columns;
  int32_t input_blocks;
  int32_t part;  // tiles of a part
  int64_t parts;

  __host__ __device__ int64_t tiles() const { return static_cast<int64_t>(conv.images) * tiles_h * tiles_w; }
  __host__ __device__ int64_t weights() const {
    return static_cast<int64_t>(conv.outputs) * conv.kernel_h * conv.kernel_w * conv.channels;
  }
  __host__ __device__ int32_t blocks_of_part() const {
    return ceil_divide(conv.outputs, kGradientOutputs) * input_blocks * tap_rows * tap_columns;
  }
};

inline WeightGradient plan_weight_gradient(const Convolution& conv) {
  WeightGradient plan = {conv,
                         ceil_divide(conv.output_height(), kGradientSide),
                         ceil_divide(conv.output_width(), kGradientSide),
                         ceil_divide(conv.kernel_h, kGradientTaps),
                         ceil_divide(conv.kernel_w, kGradientTaps),
                         ceil_divide(conv.channels, kGradientInputs),
                         1,
                         1};
  // As many blocks as a large GPU runs at once, and parts long enough that their sums are a small part of the traffic.
  constexpr int64_t blocks = 512;
  constexpr int64_t least = 8;
  const int64_t wanted = ceil_divide<int64_t>(blocks, plan.blocks_of_part());
  plan.part = static_cast<int32_t>(std::max(ceil_divide(plan.tiles(), wanted), least));
  plan.parts = ceil_divide<int64_t>(plan.tiles(), plan.part);
  return plan;
}

// A tile of pixels, counted in tiles.
struct PixelTile {
  int32_t image;
  int32_t h;
  int32_t w;

  __device__ PixelTile(const WeightGradient& plan, int64_t number) {
    const Pixel at = pixel_at(number, plan.tiles_h, plan.tiles_w);
    image = static_cast<int32_t>(at.image);
    h = at.h;
    w = at.w;
  }
  __device__ void advance(const WeightGradient& plan) {
    if (++w < plan.tiles_w) return;
    w = 0;
    if (++h < plan.tiles_h) return;
    h = 0;
    ++image;
  }
};

// Channels i, channels o and taps of a block: the first of each.
struct GradientBlock {
  int32_t part;
  int32_t output;
  int32_t input;
  int32_t row;
  int32_t column;
};

__device__ inline GradientBlock gradient_block(const WeightGradient& plan, int64_t block) {
  const Quotient part = divide(block, plan.blocks_of_part());
  const Quotient column = divide(part.remainder, plan.tap_columns);
  const Quotient row = divide(column.quotient, plan.tap_rows);
  const Quotient input = divide(row.quotient, plan.input_blocks);
  return {static_cast<int32_t>(part.quotient), static_cast<int32_t>(input.quotient) * kGradientOutputs,
          input.remainder * kGradientInputs, row.remainder * kGradientTaps, column.remainder * kGradientTaps};
}

// [tap][8 channels i] of 16 channels o
using GradientSums = float[kGradientTaps * kGradientTaps][2][4];

// sums += dense * patch over pixels 16 k .. + 16 of a tile, two of its lines.
template <typename scalar_t>
__device__ inline void multiply_pixels(GradientSums& sums, const Word* dense, const Word* patch, int k) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  uint32_t a[4];
  const int output_vector = warp / 2 * 2 + lane / 8 % 2;
  dev::ldmatrix<4, true>(a, dense + swizzled<kDenseVectors>(16 * k + lane / 16 * 8 + lane % 8, output_vector));
  const int first = (2 * k + lane / 8 % 2) * kGradientPatchSide + lane % 8;
#pragma unroll
  for (int tap = 0; tap < kGradientTaps * kGradientTaps; ++tap) {
    uint32_t both[4];
    const int pixel = first + tap / kGradientTaps * kGradientPatchSide + tap % kGradientTaps;
    dev::ldmatrix<4, true>(both, patch + swizzled<kUnpooledVectors>(pixel, warp % 2 * 2 + lane / 16));
    const uint32_t b[2][2] = {{both[0], both[1]}, {both[2], both[3]}};
#pragma unroll
    for (int j = 0; j < 2; ++j) dev::mma<scalar_t>(sums[tap][j], a, b[j]);
  }
}

// Fills the stages of a block.
template <Unpooling KIND>
struct GradientTiles {
  static constexpr int kDensePieces = kGradientPixels * kDenseVectors / kGemmThreads;
  static constexpr int kPatchPieces = ceil_divide(kGradientPatchPixels * kUnpooledVectors, kGemmThreads);

  const UnpooledMap<KIND>& map;
  const Word* dense;
  const WeightGradient& plan;
  const GradientBlock& block;

  __device__ void copy_dense(Word* stage, const PixelTile& tile) const {
    const Convolution& conv = plan.conv;
#pragma unroll 1
    for (int piece = 0; piece < kDensePieces; ++piece) {
      const PatchVector<kDenseVectors> own(piece);
      const int32_t h = tile.h * kGradientSide + own.pixel / kGradientSide;
      const int32_t w = tile.w * kGradientSide + own.pixel % kGradientSide;
      const bool real = h < conv.output_height() && w < conv.output_width();
      const int32_t pixel = real ? (tile.image * conv.output_height() + h) * conv.output_width() + w : 0;
      copy_words<KIND != Unpooling::ragged>(stage + own.place(), dense, static_cast<int64_t>(pixel) * conv.outputs,
                                            block.output + own.channel(), conv.outputs, real);
    }
  }

  __device__ void fill(Word* stage, const PixelTile& tile, int piece) const {
    const PatchVector<kUnpooledVectors> own(piece);
    if (own.pixel >= kGradientPatchPixels) return;
    const int32_t row = static_cast<unsigned>(own.pixel) / kGradientPatchSide;
    const int32_t column = own.pixel - row * kGradientPatchSide;
    const int32_t h = tile.h * kGradientSide + block.row - plan.conv.padding_h + row;
    const int32_t w = tile.w * kGradientSide + block.column - plan.conv.padding_w + column;
    place_words(stage + kDenseStage + own.place(), map.at(tile.image, h, w, block.input + own.channel()).pixel());
  }
};

template <typename scalar_t, Unpooling KIND>
__global__ void WWAE_LAUNCH_BOUNDS(kGemmThreads, 2)
    unpool_conv2d_weight_backward_kernel(UnpooledMap<KIND> map, const Word* dense, float* partial,
                                         WeightGradient plan) {
  WWAE_DYNAMIC_SHARED(shared);
  Word* const stages = reinterpret_cast<Word*>(shared);
  const Convolution& conv = plan.conv;
  const GradientBlock block = gradient_block(plan, blockIdx.x);
  const int64_t begin = static_cast<int64_t>(block.part) * plan.part;
  const int64_t rest = plan.tiles() - begin;
  const int count = static_cast<int>(rest < plan.part ? rest : plan.part);
  const GradientTiles<KIND> tiles = {map, dense, plan, block};
  constexpr int steps = kGradientPixels / 16;
  static_assert(GradientTiles<KIND>::kPatchPieces <= steps);

  PixelTile tile(plan, begin);
  Word* const first = stages + (count & 1) * kGradientStage;
  tiles.copy_dense(first, tile);
  for (int piece = 0; piece < GradientTiles<KIND>::kPatchPieces; ++piece) tiles.fill(first, tile, piece);
  GradientSums sums = {};
  for (int left = count; left > 0; --left) {
    const Word* const now = stages + (left & 1) * kGradientStage;
    Word* const next = stages + (~left & 1) * kGradientStage;
    dev::cp_async_commit();
    dev::cp_async_wait<0>();
    dev::sync_threads();
    const bool filling = left > 1;
    tile.advance(plan);
    if (filling) tiles.copy_dense(next, tile);
#pragma unroll 1
    for (int k = 0; k < steps; ++k) {
      if (filling && k < GradientTiles<KIND>::kPatchPieces) tiles.fill(next, tile, k);
      multiply_pixels<scalar_t>(sums, now, now + kDenseStage, k);
    }
  }

  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  float* const sum_of_part = partial + block.part * plan.weights();
#pragma unroll
  for (int tap = 0; tap < kGradientTaps * kGradientTaps; ++tap) {
    const int32_t row = block.row + tap / kGradientTaps;
    const int32_t column = block.column + tap % kGradientTaps;
    if (row >= conv.kernel_h || column >= conv.kernel_w) continue;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int32_t output = block.output + warp / 2 * 16 + lane / 4 + 8 * half;
      const int64_t line = (static_cast<int64_t>(output) * conv.kernel_h + row) * conv.kernel_w + column;
#pragma unroll
      for (int j = 0; j < 2; ++j) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int32_t input = block.input + warp % 2 * 16 + 8 * j + lane % 4 * 2 + i;
          if (output >= conv.outputs || input >= conv.channels) continue;
          sum_of_part[line * conv.channels + input] = sums[tap][j][2 * half + i];
        }
      }
    }
  }
}

// columns: weights, in the order of the partial sums.
template <typename scalar_t>
__global__ void unpool_conv2d_weight_backward_join_kernel(const float* partial, scalar_t* grad, WeightGradient plan,
                                                          Tiling tiling) {
  const Place at = place(tiling);
  if (!at.inside) return;
  double total = 0;
  for (int64_t part = 0; part < plan.parts; ++part) total += partial[part * plan.weights() + at.column];
  const Quotient line = divide(at.column, plan.conv.channels);
  const int32_t taps = plan.conv.kernel_h * plan.conv.kernel_w;
  const Quotient output = divide(line.quotient, taps);
  const int64_t address = (output.quotient * plan.conv.channels + line.remainder) * taps + output.remainder;
  grad[address] = from_compute<scalar_t>(static_cast<float>(total));
}

// `partial` has room for plan.parts * plan.weights() sums, and there is a pixel and a weight at least. `geometry` is
// the one of the unpooling.
template <typename scalar_t, typename Launch>
void launch_unpool_conv2d_weight_backward(const Launch& launch, const scalar_t* x, const uint8_t* offsets,
                                          const scalar_t* dense, float* partial, scalar_t* grad,
                                          const WeightGradient& plan, const Geometry32& geometry) {
  const bool whole = plan.conv.outputs % kLanes16 == 0 && aligned(dense, kVectorBytes);
  with_unpooled_map(x, offsets, geometry, plan.conv.channels, whole, [&](const auto& map) {
    launch(unpool_conv2d_weight_backward_kernel<scalar_t, std::decay_t<decltype(map)>::kKind>,
           Blocks{plan.parts * plan.blocks_of_part(), kGemmThreads, 1, kGradientShared}, map,
           reinterpret_cast<const Word*>(dense), partial, plan);
  });
  launch(unpool_conv2d_weight_backward_join_kernel<scalar_t>, tile(1, plan.weights()),
         static_cast<const float*>(partial), grad, plan);
}

}  // namespace wwae

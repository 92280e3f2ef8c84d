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
// A block of 8 warps has 64 channels o, 64 channels i and three neighbouring taps (r, s .. s + 2), a warp 32 by 16 by
// 3: a tile of `dense` and the patch of 8 x 10 pixels of U that its three taps see are in shared memory, in lines of 64
// channels, a ring of three of each, filled two tiles ahead with one barrier a tile. Both operands stand with the inner
// dimension along the lines, so `ldmatrix` transposes them. Vector v of line l lies in place v ^ l % 8: eight rows of a
// matrix are eight pixels that follow one another, in all 32 banks. 55296 bytes.
//
// Bytes moved per pixel, 16-bit floats, 2 x 2: 0.5 + 0.25 + 2, for as many channels o as i, and the partial sums. Each
// pixel is asked for once for each row of taps and each 64 channels of the other map; those blocks follow one another.
#pragma once

#include <algorithm>

#include "cuda/implicit_gemm.cuh"
#include "cuda/unpooled_patch.cuh"

namespace wwae {

constexpr int kGradientTaps = 3;  // of a block
constexpr int kGradientSide = 8;  // of a tile of pixels
constexpr int kGradientPixels = kGradientSide * kGradientSide;
constexpr int kGradientChannels = 64;  // of either map
constexpr int kGradientVectors = kGradientChannels / kLanes16;
constexpr int kGradientPatchWidth = kGradientSide + kGradientTaps - 1;
constexpr int kGradientPatchPixels = kGradientSide * kGradientPatchWidth;
constexpr int kGradientStage = (kGradientPixels + kGradientPatchPixels) * kGradientChannels;  // elements
constexpr int kGradientShared = 2 * kGradientStage * static_cast<int>(sizeof(Word));

// What is added up, and how it is cut. `conv` is the convolution of U whose weight is asked for; `dense` is as its
// result.
struct WeightGradient {
  Convolution conv;
  int32_t tiles_h;  // of a map
  int32_t tiles_w;
  int32_t tap_groups;  // of a row of taps
  int32_t input_blocks;
  int32_t part;  // tiles of a part
  int64_t parts;

  __host__ __device__ int64_t tiles() const { return conv.images * tiles_h * tiles_w; }
  __host__ __device__ int64_t weights() const {
    return static_cast<int64_t>(conv.outputs) * conv.kernel_h * conv.kernel_w * conv.channels;
  }
  __host__ __device__ int32_t blocks_of_part() const {
    return conv.output_blocks() * input_blocks * conv.kernel_h * tap_groups;
  }
};

inline WeightGradient plan_weight_gradient(const Convolution& conv) {
  WeightGradient plan = {conv,
                         ceil_divide(conv.output_height(), kGradientSide),
                         ceil_divide(conv.output_width(), kGradientSide),
                         ceil_divide(conv.kernel_w, kGradientTaps),
                         ceil_divide(conv.channels, kGradientChannels),
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

// Channels i, channels o and taps of a block.
struct GradientBlock {
  int64_t part;
  int32_t output;
  int32_t input;
  int32_t row;
  int32_t column;  // of the first tap
};

__device__ inline GradientBlock gradient_block(const WeightGradient& plan, int64_t block) {
  const Quotient part = divide(block, plan.blocks_of_part());
  const Quotient group = divide(part.remainder, plan.tap_groups);
  const Quotient row = divide(group.quotient, plan.conv.kernel_h);
  const Quotient input = divide(row.quotient, plan.input_blocks);
  return {part.quotient, static_cast<int32_t>(input.quotient) * kGradientChannels, input.remainder * kGradientChannels,
          row.remainder, group.remainder * kGradientTaps};
}

// [tap][16 channels o][8 channels i]
using GradientSums = float[kGradientTaps][2][2][4];

// sums += dense * patch over pixels 16 k .. + 16 of a tile, two of its lines.
template <typename scalar_t>
__device__ inline void multiply_pixels(GradientSums& sums, const Word* dense, const Word* patch, int k) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int output_vector = warp / 4 * 4;
  const int input_vector = warp % 4 * 2;
  uint32_t a[2][4];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int pixel = 16 * k + lane / 16 * 8 + lane % 8;
    const int vector = output_vector + 2 * i + lane / 8 % 2;
    dev::ldmatrix<4, true>(a[i], dense + swizzled<kGradientVectors>(pixel, vector));
  }
#pragma unroll
  for (int tap = 0; tap < kGradientTaps; ++tap) {
    uint32_t both[4];
    const int pixel = (2 * k + lane / 8 % 2) * kGradientPatchWidth + lane % 8 + tap;
    dev::ldmatrix<4, true>(both, patch + swizzled<kGradientVectors>(pixel, input_vector + lane / 16));
    const uint32_t b[2][2] = {{both[0], both[1]}, {both[2], both[3]}};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 2; ++j) dev::mma<scalar_t>(sums[tap][i][j], a[i], b[j]);
    }
  }
}

// Fills the stages of a block.
template <Unpooling KIND>
struct GradientTiles {
  using Asked = typename UnpooledMap<KIND>::Asked;
  using Own = PatchVector<kGradientVectors>;
  static constexpr int kPieces = ceil_divide(kGradientPatchPixels * kGradientVectors, kGemmThreads);

  const UnpooledMap<KIND>& map;
  const Word* dense;
  const WeightGradient& plan;
  const GradientBlock& block;

  __device__ void copy_dense(Word* stage, const Pixel& tile) const {
    const Convolution& conv = plan.conv;
#pragma unroll 1
    for (int piece = 0; piece < kGradientPixels * kGradientVectors / kGemmThreads; ++piece) {
      const Own own(piece);
      const int32_t h = tile.h * kGradientSide + own.pixel / kGradientSide;
      const int32_t w = tile.w * kGradientSide + own.pixel % kGradientSide;
      const int64_t line = ((tile.image * conv.output_height() + h) * conv.output_width() + w) * conv.outputs;
      copy_words<KIND != Unpooling::ragged>(stage + own.place(), dense, line, block.output + own.channel(),
                                            conv.outputs, h < conv.output_height() && w < conv.output_width());
    }
  }

  // A piece of the patch: what is read for it, and where it is written.
  __device__ Asked begin(const Pixel& tile, int piece) const {
    const Own own(piece);
    return map.at(tile.image,
                  tile.h * kGradientSide + block.row - plan.conv.padding_h + own.pixel / kGradientPatchWidth,
                  tile.w * kGradientSide + block.column - plan.conv.padding_w + own.pixel % kGradientPatchWidth,
                  block.input + own.channel());
  }
  __device__ void end(Word* stage, int piece, const Asked& asked) const {
    const Own own(piece);
    if (own.pixel < kGradientPatchPixels) {
      place_words(stage + kGradientPixels * kGradientChannels + own.place(), asked.pixel());
    }
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
  const int64_t begin = block.part * plan.part;
  const int64_t rest = plan.tiles() - begin;
  const int count = static_cast<int>(rest < plan.part ? rest : plan.part);
  const GradientTiles<KIND> tiles = {map, dense, plan, block};
  constexpr int steps = kGradientPixels / 16;
  static_assert(GradientTiles<KIND>::kPieces <= steps);

  const Pixel first = pixel_at(begin, plan.tiles_h, plan.tiles_w);
  tiles.copy_dense(stages, first);
  for (int piece = 0; piece < GradientTiles<KIND>::kPieces; ++piece)
    tiles.end(stages, piece, tiles.begin(first, piece));
  GradientSums sums = {};
  for (int number = 0; number < count; ++number) {
    const Word* const now = stages + number % 2 * kGradientStage;
    Word* const next = stages + (number + 1) % 2 * kGradientStage;
    dev::cp_async_commit();
    dev::cp_async_wait<0>();
    dev::sync_threads();
    const bool filling = number + 1 < count;
    const Pixel tile = pixel_at(begin + number + filling, plan.tiles_h, plan.tiles_w);
    if (filling) tiles.copy_dense(next, tile);
#pragma unroll 1
    for (int k = 0; k < steps; ++k) {
      const bool asking = filling && k < GradientTiles<KIND>::kPieces;
      typename GradientTiles<KIND>::Asked asked;
      if (asking) asked = tiles.begin(tile, k);
      multiply_pixels<scalar_t>(sums, now, now + kGradientPixels * kGradientChannels, k);
      if (asking) tiles.end(next, k, asked);
    }
  }

  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  float* const sum_of_part = partial + block.part * plan.weights();
#pragma unroll
  for (int tap = 0; tap < kGradientTaps; ++tap) {
    if (block.column + tap >= conv.kernel_w) continue;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
#pragma unroll
        for (int part = 0; part < 4; ++part) {
          const int32_t output = block.output + warp / 4 * 32 + 16 * i + lane / 4 + part / 2 * 8;
          const int32_t input = block.input + warp % 4 * 16 + 8 * j + lane % 4 * 2 + part % 2;
          if (output >= conv.outputs || input >= conv.channels) continue;
          const int64_t line = (static_cast<int64_t>(output) * conv.kernel_h + block.row) * conv.kernel_w;
          sum_of_part[(line + block.column + tap) * conv.channels + input] = sums[tap][i][j][part];
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

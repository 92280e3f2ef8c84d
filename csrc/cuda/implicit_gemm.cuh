// A convolution as a product of matrices on tensor cores, for 16-bit floats in channels_last and stride 1: what
// conv_relu_pool2d and unpool_conv2d share.
//
//   y[n, h, w, o] = sum over (r, s, c) of map[n, h + r - PH, w + s - PW, c] * weight[o, r, s, c], added in float
//
//   weight  [O, C, KH, KW] in channels_last, so a line (o, r, s) has its C channels side by side
//
// A block of 8 warps computes 16 x 16 positions (h, w) of 64 channels o, a warp 4 lines of them by 32 channels:
// 4 x 4 products of m16n8k16. It goes through the channels c in chunks of 32, and for each through the taps:
//
//   patch    the (16 + KH - 1) x (16 + KW - 1) pixels of the map that the tile sees, 32 channels each, 0 outside the
//            map. The taps of a chunk read the same patch, shifted: a pixel comes from global memory once a chunk,
//            where copying the matrix would bring it KH * KW times.
//   weights  64 lines of 32 channels, those of one tap.
//
// Two of each are in shared memory. A step is one tap of one chunk. While it is multiplied, `cp.async` brings the
// weights of the next one, and a piece of the next chunk's patch: a patch is cut into pieces of one vector a thread,
// dealt out to the steps of a chunk. One barrier a step says both that its data is there for all and that what is
// refilled was read by all.
//
// Shared memory: a pixel or a line of weights is 64 bytes, four vectors of 16. Vector v of line l lies in place
// v ^ (l / 2) % 4: eight consecutive lines then have one vector in all 32 banks, for any first line, so no `ldmatrix`
// meets a conflict, whatever the tap shifts it by (eight rows of a matrix are eight pixels of one line of the patch).
// Bytes: 128 * (patch + 64), 3 x 3: 49664, so that two blocks share a multiprocessor of every architecture. Results
// leave through shared memory too, in lines of 64 + 8 elements: the 8 turn each line by four banks, so that the
// registers of a warp are written without conflict.
#pragma once

#include "cuda/tile.cuh"
#include "cuda/vector.cuh"

namespace wwae {

constexpr int kGemmThreads = 256;
constexpr int kTileSide = 16;  // positions of a block along each axis
constexpr int kTileOutputs = 64;  // channels of the result that a block computes
constexpr int kDepth = 32;  // channels of the map in a step
constexpr int kLanes16 = kVectorBytes / 2;  // elements of a vector
constexpr int kDepthVectors = kDepth / kLanes16;
constexpr int kStagedLine = kTileOutputs + kLanes16;
constexpr int kMostGemmShared = 99 * 1024;  // bytes that sm_86 and sm_89 give a block: a patch of 11 x 11 taps
constexpr int kMostTaps = 11;  // along an axis

// Moved, not computed with.
using Word = uint16_t;
using Words = Vector<Word, kLanes16>;

// Stride, dilation and groups are 1. Maps have fewer than 2^31 pixels, so that pixels are counted in 32 bits, elements
// in 64.
struct Convolution {
  int32_t images;  // N
  int32_t height;  // of the map that is convolved
  int32_t width;
  int32_t channels;  // C
  int32_t outputs;  // O
  int32_t kernel_h;
  int32_t kernel_w;
  int32_t padding_h;
  int32_t padding_w;

  __host__ __device__ int32_t output_height() const { return height + 2 * padding_h - kernel_h + 1; }
  __host__ __device__ int32_t output_width() const { return width + 2 * padding_w - kernel_w + 1; }
  __host__ __device__ int32_t patch_width() const { return kTileSide + kernel_w - 1; }
  __host__ __device__ int32_t patch_pixels() const { return patch_width() * (kTileSide + kernel_h - 1); }
  __host__ __device__ int32_t output_blocks() const { return ceil_divide<int32_t>(outputs, kTileOutputs); }
};

inline int64_t gemm_shared_bytes(const Convolution& conv) {
  const int64_t lines = 2 * (static_cast<int64_t>(conv.patch_pixels()) + kTileOutputs);
  const int64_t staged = static_cast<int64_t>(kTileSide) * kTileSide * kStagedLine;
  return static_cast<int64_t>(sizeof(Word)) * (lines * kDepth > staged ? lines * kDepth : staged);
}

// The element at which vector `vector` of line `line` begins, where lines have VECTORS of them, four or eight: see
// above.
template <int VECTORS>
__device__ inline int swizzled(int line, int vector) {
  static_assert(VECTORS == 4 || VECTORS == 8);
  const int turn = VECTORS == 4 ? line >> 1 & 3 : line & 7;
  return (line * VECTORS + (vector ^ turn)) * kLanes16;
}

// To shared memory, aligned to 16 bytes.
template <typename vector_t>
__device__ inline void place_words(Word* to, const vector_t& words) {
  static_assert(sizeof(words) == kVectorBytes);
  *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(&words);
}

// Channels `channel` .. + 8 of the line that begins at `line`, to shared memory, zeros beyond the last channel and
// where the line is not `real`. WHOLE: the lines are whole vectors, aligned; else their elements come one by one.
template <bool WHOLE>
__device__ inline void copy_words(Word* to, const Word* base, int64_t line, int32_t channel, int32_t channels,
                                  bool real) {
  if constexpr (WHOLE) {
    const bool inside = real && channel < channels;
    dev::cp_async<kVectorBytes>(to, inside ? base + line + channel : base, inside);
  } else {
    Words words;
#pragma unroll
    for (int i = 0; i < kLanes16; ++i) {
      words.lane[i] = real && channel + i < channels ? base[line + channel + i] : Word{0};
    }
    place_words(to, words);
  }
}

// What a block computes.
struct ConvolutionTile {
  int32_t image;
  int32_t h;  // of its first position, which may lie before the map
  int32_t w;
  int32_t output;  // its first channel
};

// This thread's vector in a piece of a patch of pixels, each a line of VECTORS vectors.
template <int VECTORS>
struct PatchVector {
  int pixel;
  int vector;

  __device__ explicit PatchVector(int piece) {
    const unsigned number = static_cast<unsigned>(piece) * kGemmThreads + threadIdx.x;
    pixel = static_cast<int>(number / VECTORS);
    vector = static_cast<int>(number % VECTORS);
  }
  __device__ int place() const { return swizzled<VECTORS>(pixel, vector); }
  __device__ int32_t channel() const { return vector * kLanes16; }
};

// Lines and columns of the pixels of a tile's patch, on the map that is convolved.
struct PatchPixels {
  int32_t h;  // of the first pixel
  int32_t w;
  int32_t width;
  int32_t count;
  uint32_t reciprocal;  // of the width, times 2^16

  // The product of a pixel's number and the width is less than 2^16, so that the reciprocal is exact enough.
  __device__ PatchPixels(const Convolution& conv, const ConvolutionTile& tile)
      : h(tile.h - conv.padding_h),
        w(tile.w - conv.padding_w),
        width(conv.patch_width()),
        count(conv.patch_pixels()),
        reciprocal((1u << 16) / static_cast<uint32_t>(conv.patch_width()) + 1) {}

  __device__ int row(int pixel) const { return static_cast<int>(static_cast<uint32_t>(pixel) * reciprocal >> 16); }
};

// The weights of a tile, a vector of a line for each thread.
template <bool WHOLE>
struct TapWeights {
  const Word* line;
  int32_t channels;
  int32_t first;  // channel of the vector
  int place;
  bool real;

  __device__ TapWeights(const Word* weight, const Convolution& conv, int32_t first_output) : channels(conv.channels) {
    static_assert(kTileOutputs * kDepthVectors == kGemmThreads);
    const PatchVector<kDepthVectors> own(0);
    const int64_t output = first_output + own.pixel;
    real = output < conv.outputs;
    line = weight + (real ? output * conv.kernel_h * conv.kernel_w * conv.channels : 0);
    first = own.channel();
    place = own.place();
  }

  // Of a tap, from `channel` on.
  __device__ void copy(Word* stage, int32_t tap, int32_t channel) const {
    copy_words<WHOLE>(stage + place, line, static_cast<int64_t>(tap) * channels, channel + first, channels, real);
  }
};

// 4 lines of 16 positions (h) by 4 times 8 channels: what a warp adds up.
using Sums = float[4][4][4];

// sums += patch * weights for one tap. `pixel`: the one of the patch under this lane's first position.
template <typename scalar_t>
__device__ inline void multiply_tap(Sums& sums, const Word* patch, const Word* weights, int pixel, int patch_width) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int left = static_cast<int>(threadIdx.x) / kWarp % 2 * 32;
#pragma unroll
  for (int k = 0; k < kDepth / 16; ++k) {
    uint32_t b[4][2];
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      uint32_t both[4];
      const int line = left + 16 * pair + lane / 16 * 8 + lane % 8;
      dev::ldmatrix(both, weights + swizzled<kDepthVectors>(line, 2 * k + lane / 8 % 2));
#pragma unroll
      for (int i = 0; i < 4; ++i) b[2 * pair + i / 2][i % 2] = both[i];
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      uint32_t a[4];
      dev::ldmatrix(a, patch + swizzled<kDepthVectors>(pixel + i * patch_width, 2 * k + lane / 16));
#pragma unroll
      for (int j = 0; j < 4; ++j) dev::mma<scalar_t>(sums[i][j], a, b[j]);
    }
  }
}

// The sums of this thread's positions and channels. `patch_of` fills patches: begin(patch, channel, piece) asks for
// this thread's vector of a piece of the patch, which has the channels from `channel` on, and gives an `Asked`, what
// end(patch, piece, asked) writes later. Afterwards all of the shared memory is free.
template <typename scalar_t, bool WHOLE, typename PatchOf>
__device__ inline void convolve_tile(Sums& sums, Word* shared, const Convolution& conv, const Word* weight,
                                     int32_t first_output, const PatchOf& patch_of) {
  const int patch_elements = conv.patch_pixels() * kDepth;
  const auto patch_at = [&](int number) { return shared + (number & 1) * patch_elements; };
  const auto weights_at = [&](int number) {
    return shared + 2 * patch_elements + (number & 1) * (kTileOutputs * kDepth);
  };
  const TapWeights<WHOLE> weights(weight, conv, first_output);
  const int taps = conv.kernel_h * conv.kernel_w;
  const int chunks = ceil_divide<int32_t>(conv.channels, kDepth);
  const int pieces = ceil_divide(conv.patch_pixels() * kDepthVectors, kGemmThreads);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int pixel = static_cast<int>(threadIdx.x) / kWarp / 2 * 4 * conv.patch_width() + lane % 16;

  const auto fill_at_once = [&](int chunk, int first, int step) {
#pragma unroll 1
    for (int piece = first; piece < pieces; piece += step) {
      patch_of.end(patch_at(chunk), piece, patch_of.begin(patch_at(chunk), chunk * kDepth, piece));
    }
  };
  if (chunks > 0) {
    fill_at_once(0, 0, 1);
    weights.copy(weights_at(0), 0, 0);
  }
  int number = 0;  // of the step
  for (int chunk = 0; chunk < chunks; ++chunk) {
    int row = 0;
    int column = 0;
    for (int tap = 0; tap < taps; ++tap, ++number) {
      dev::cp_async_commit();
      dev::cp_async_wait<0>();
      dev::sync_threads();
      const int next = chunk + 1;
      const bool last = tap + 1 == taps;
      if (!last || next < chunks) {
        weights.copy(weights_at(number + 1), last ? 0 : tap + 1, (last ? next : chunk) * kDepth);
      }
      const bool filling = next < chunks && tap < pieces;
      typename PatchOf::Asked asked = {};
      if (filling) {
        fill_at_once(next, tap + taps, taps);
        asked = patch_of.begin(patch_at(next), next * kDepth, tap);
      }
      multiply_tap<scalar_t>(sums, patch_at(chunk), weights_at(number), pixel + row * conv.patch_width() + column,
                             conv.patch_width());
      if (filling) patch_of.end(patch_at(next), tap, asked);
      if (++column == conv.kernel_w) {
        column = 0;
        ++row;
      }
    }
  }
  dev::sync_threads();
}

// Block number `block` of a convolution whose results are cut into tiles_h x tiles_w tiles that begin `step_h`,
// `step_w` positions apart, the first one at (first_h, first_w). Blocks that see the same patch follow one another.
struct TileGrid {
  int32_t tiles_h;
  int32_t tiles_w;
  int32_t step_h;
  int32_t step_w;
  int32_t first_h;
  int32_t first_w;

  int64_t blocks(const Convolution& conv) const {
    return static_cast<int64_t>(conv.images) * tiles_h * tiles_w * conv.output_blocks();
  }

  __device__ ConvolutionTile tile(const Convolution& conv, int64_t block) const {
    const Quotient part = divide(block, conv.output_blocks());
    const Pixel at = pixel_at(part.quotient, tiles_h, tiles_w);
    return {static_cast<int32_t>(at.image), first_h + at.h * step_h, first_w + at.w * step_w,
            part.remainder * kTileOutputs};
  }
};

}  // namespace wwae

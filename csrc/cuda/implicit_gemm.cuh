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
//   patch    the (16 + KH - 1) x (16 + KW - 1) pixels of the map that the tile sees, 32 channels each, zeros outside
//   the
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

#include "cuda/activation.cuh"
#include "cuda/collect.cuh"
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

// Stride, dilation and groups are 1.
struct Convolution {
  int64_t images;  // N
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
  const int turn = VECTORS == 4 ? line / 2 % 4 : line % 8;
  return (line * VECTORS + (vector ^ turn)) * kLanes16;
}

// To shared memory, aligned to 16 bytes.
__device__ inline void place_words(Word* to, const Words& words) {
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
  int64_t image;
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
    const int number = piece * kGemmThreads + static_cast<int>(threadIdx.x);
    pixel = number / VECTORS;
    vector = number % VECTORS;
  }
  __device__ int place() const { return swizzled<VECTORS>(pixel, vector); }
  __device__ int32_t channel() const { return vector * kLanes16; }
};

template <int VECTORS>
__device__ inline int patch_pieces(int pixels) {
  return ceil_divide(pixels * VECTORS, kGemmThreads);
}

// Of one tap, from `channel` on, to shared memory.
template <bool WHOLE>
__device__ inline void copy_weights(Word* to, const Word* weight, const Convolution& conv, int32_t first_output,
                                    int32_t tap, int32_t channel) {
  static_assert(kTileOutputs * kDepthVectors == kGemmThreads);
  const int vector = static_cast<int>(threadIdx.x) % kDepthVectors;
  const int line = static_cast<int>(threadIdx.x) / kDepthVectors;
  const int64_t output = first_output + line;
  const int64_t address = (output * conv.kernel_h * conv.kernel_w + tap) * conv.channels;
  copy_words<WHOLE>(to + swizzled<kDepthVectors>(line, vector), weight, address, channel + vector * kLanes16,
                    conv.channels, output < conv.outputs);
}

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
  const auto patch_at = [&](int number) { return shared + number % 2 * patch_elements; };
  const auto weights_at = [&](int number) {
    return shared + 2 * patch_elements + number % 2 * (kTileOutputs * kDepth);
  };
  const int taps = conv.kernel_h * conv.kernel_w;
  const int chunks = ceil_divide<int32_t>(conv.channels, kDepth);
  const int pieces = patch_pieces<kDepthVectors>(conv.patch_pixels());
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int pixel = static_cast<int>(threadIdx.x) / kWarp / 2 * 4 * conv.patch_width() + lane % 16;

  const auto fill_at_once = [&](int chunk, int first, int step) {
    for (int piece = first; piece < pieces; piece += step) {
      patch_of.end(patch_at(chunk), piece, patch_of.begin(patch_at(chunk), chunk * kDepth, piece));
    }
  };
  if (chunks > 0) {
    fill_at_once(0, 0, 1);
    copy_weights<WHOLE>(weights_at(0), weight, conv, first_output, 0, 0);
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
        copy_weights<WHOLE>(weights_at(number + 1), weight, conv, first_output, last ? 0 : tap + 1,
                            (last ? next : chunk) * kDepth);
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

// What becomes of a sum before it is rounded.
struct BiasAndReLU {
  const float* bias;  // [O], or null
  bool relu;

  __device__ float of(float sum, float shift) const {
    const float shifted = sum + shift;
    return relu ? wwae::relu(shifted) : shifted;
  }
};

// The results of all positions m = 16 h + w of the tile, rounded: channel o at staged[m * kStagedLine + o]. For all
// threads to see.
template <typename scalar_t>
__device__ inline void stage_results(scalar_t* staged, const Sums& sums, const BiasAndReLU& finish,
                                     int32_t first_output, int32_t outputs) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const int column = warp % 2 * 32 + 8 * j + lane % 4 * 2;
    float shift[2] = {};
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      if (finish.bias != nullptr && first_output + column + k < outputs)
        shift[k] = finish.bias[first_output + column + k];
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int position = (warp / 2 * 4 + i) * kTileSide + lane / 4 + 8 * half;
        Vector<scalar_t, 2> pair;
#pragma unroll
        for (int k = 0; k < 2; ++k)
          pair.lane[k] = from_compute<scalar_t>(finish.of(sums[i][j][2 * half + k], shift[k]));
        *reinterpret_cast<uint32_t*>(staged + position * kStagedLine + column) =
            *reinterpret_cast<const uint32_t*>(&pair);
      }
    }
  }
  dev::sync_threads();
}

// `vector` at channels `channel` .. + 8 of the line that begins at `line` of a tensor with so many channels; what lies
// beyond the last is left out.
template <typename T>
__device__ inline void store_channels(T* tensor, int64_t line, int32_t channel, int32_t channels,
                                      const Vector<T, kLanes16>& vector) {
  if (channels % kLanes16 == 0) {
    if (channel < channels) store<kLanes16>(tensor + line + channel, vector);
    return;
  }
#pragma unroll
  for (int i = 0; i < kLanes16; ++i) {
    if (channel + i < channels) tensor[line + channel + i] = vector.lane[i];
  }
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

  int64_t blocks(const Convolution& conv) const { return conv.images * tiles_h * tiles_w * conv.output_blocks(); }

  __device__ ConvolutionTile tile(const Convolution& conv, int64_t block) const {
    const Quotient part = divide(block, conv.output_blocks());
    const Pixel at = pixel_at(part.quotient, tiles_h, tiles_w);
    return {at.image, first_h + at.h * step_h, first_w + at.w * step_w, part.remainder * kTileOutputs};
  }
};

}  // namespace wwae

// Sums over everything but the channel, in an order that only the shape decides: deterministic, no atomics.
//
// A map is cut into strips. One kernel adds up each strip, in the type that numbers of the map are computed in, which
// is float for 16-bit floats; a second one puts the strips of a channel together in double.
//
//   contiguous     a strip is a part of a plane; a warp adds it up, its lanes read neighbouring vectors
//   channels_last  a strip is a run of pixels; a block adds up a column of channels, lanes = channels, rows = pixels
//
// What is added is a `Source`:
//
//   kTerms, kOrigin     how many sums; whether the first element of a strip is kept beside them
//   number              their type
//   start<N>(address)   N numbers for the sums of a strip whose first element is there
//   add<VEC, CONTIGUOUS>(start, sums, row, address, channel)
//                       VEC neighbours from `address` on: contiguous positions of one channel, for which sums is
//                       [kTerms], or channels of one pixel, for which it is [kTerms * VEC]; row: their first one's
//                       number in the maps of tile.cuh
#pragma once

#include "cuda/reduce.cuh"
#include "cuda/tile.cuh"
#include "cuda/vector.cuh"

namespace wwae {

struct Strips {
  int64_t images;  // N
  int64_t channels;  // C
  int64_t positions;  // of a plane
  bool interleaved;  // channels_last
  int64_t size;  // positions, or pixels, of a strip; the last one of a plane, or of all, may have fewer
  int64_t count;  // strips of a plane, or of all

  __host__ __device__ int64_t pixels() const { return images * positions; }

  // Partial sums of one term.
  __host__ __device__ int64_t partials() const { return (interleaved ? 1 : images) * channels * count; }

  __device__ int64_t of_channel() const { return (interleaved ? 1 : images) * count; }

  // Where the sum of the channel's strip `number` lies among the partial sums, and how many elements it is of.
  __device__ int64_t place(int64_t channel, int64_t number) const {
    if (interleaved) return number * channels + channel;
    const int64_t image = number / count;
    return (image * channels + channel) * count + (number - image * count);
  }
  __device__ int64_t elements(int64_t number) const {
    const int64_t begin = (interleaved ? number : number % count) * size;
    const int64_t rest = (interleaved ? pixels() : positions) - begin;
    return rest < size ? rest : size;
  }
};

// Values of a lane that has no part in a strip.
template <typename number, int N>
struct Start {
  number value[N] = {};
};

// Blocks of 8 warps; strip number = plane * count + part.
template <int VEC, typename Source>
__global__ void plane_strips_kernel(Source source, typename Source::number* partial, Strips strips) {
  const int64_t strip = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (strip >= strips.partials()) return;  // a whole warp
  const int64_t plane = strip / strips.count;
  const int64_t begin = (strip - plane * strips.count) * strips.size;
  const int64_t end = begin + strips.size < strips.positions ? begin + strips.size : strips.positions;
  const int64_t base = plane * strips.positions;
  const auto start = source.template start<1>(base + begin);
  typename Source::number sums[Source::kTerms] = {};
  for (int64_t at = begin + threadIdx.x * VEC; at < end; at += kWarp * VEC) {
    source.template add<VEC, true>(start, sums, base + at, base + at, plane % strips.channels);
  }
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
#pragma unroll
    for (int k = 0; k < Source::kTerms; ++k) sums[k] += dev::shuffle_xor(kFullMask, sums[k], step);
  }
  if (threadIdx.x != 0) return;
#pragma unroll
  for (int k = 0; k < Source::kTerms; ++k) partial[k * strips.partials() + strip] = sums[k];
  if constexpr (Source::kOrigin) partial[Source::kTerms * strips.partials() + strip] = start.value[0];
}

// Blocks of channels by pixels; `columns` blocks side by side have all channels of a strip.
template <int VEC, typename Source>
__global__ void channel_strips_kernel(Source source, typename Source::number* partial, Strips strips, int columns) {
  const int64_t strip = blockIdx.x / columns;
  const int64_t channel = (static_cast<int64_t>(blockIdx.x % columns) * blockDim.x + threadIdx.x) * VEC;
  const bool inside = channel < strips.channels;
  const int64_t begin = strip * strips.size;
  const int64_t end = begin + strips.size < strips.pixels() ? begin + strips.size : strips.pixels();
  Start<typename Source::number, VEC> start;
  typename Source::number sums[Source::kTerms * VEC] = {};
  if (inside) {
    start = source.template start<VEC>(begin * strips.channels + channel);
    for (int64_t pixel = begin + threadIdx.y; pixel < end; pixel += blockDim.y) {
      source.template add<VEC, false>(start, sums, pixel, pixel * strips.channels + channel, channel);
    }
  }
  column_sum<kThreads>(sums);
  if (!inside || threadIdx.y != 0) return;
#pragma unroll
  for (int i = 0; i < VEC; ++i) {
    const int64_t place = strip * strips.channels + channel + i;
#pragma unroll
    for (int k = 0; k < Source::kTerms; ++k) partial[k * strips.partials() + place] = sums[k * VEC + i];
    if constexpr (Source::kOrigin) partial[Source::kTerms * strips.partials() + place] = start.value[i];
  }
}

// A block a channel: adds up its strips and calls finish(channel, totals).
template <int TERMS, typename number, typename Finish>
__global__ void join_strips_kernel(const number* partial, Finish finish, Strips strips) {
  const int64_t channel = blockIdx.x;
  double totals[TERMS] = {};
  for (int64_t strip = threadIdx.x; strip < strips.of_channel(); strip += kThreads) {
    const int64_t place = strips.place(channel, strip);
#pragma unroll
    for (int k = 0; k < TERMS; ++k) totals[k] += static_cast<double>(partial[k * strips.partials() + place]);
  }
  block_sum(totals);
  if (threadIdx.x == 0) finish(channel, totals);
}

// How a map is added up: its strips, the lanes of a vector, and how many of them stand side by side in a block.
struct StripPlan {
  Strips strips;
  int lanes;
  int columns;
};

// `positions`: of a plane. `lanes`: elements of the widest vector; `whole`: the map is aligned to it.
inline StripPlan plan_strips(int64_t images, int64_t channels, int64_t positions, bool interleaved, int lanes,
                             bool whole) {
  const auto divisible = [&](int64_t length) { return whole && length % lanes == 0 ? lanes : 1; };
  if (!interleaved) {
    constexpr int64_t longest = 2048;  // 64 numbers a lane: few enough that a float adds them well
    const int64_t count = ceil_divide(positions, longest);
    const int64_t size = ceil_divide(ceil_divide(positions, count), static_cast<int64_t>(lanes)) * lanes;
    return {{images, channels, positions, false, size, ceil_divide(positions, size)}, divisible(positions), kWarp};
  }
  constexpr int64_t rounds = 16;  // pixels a thread adds up
  const int vec = divisible(channels);
  int columns = 1;
  while (columns < kWarp && columns * vec < channels) columns *= 2;
  const int64_t size = kThreads / columns * rounds;
  return {{images, channels, positions, true, size, ceil_divide(images * positions, size)}, vec, columns};
}

// Adds up every strip; `partial` has room for plan.strips.partials() times kTerms, and once more where kOrigin.
template <int LANES, typename Source, typename Launch>
void launch_strips(const Launch& launch, const Source& source, typename Source::number* partial,
                   const StripPlan& plan) {
  const auto with_lanes = [&](auto vec) {
    if (!plan.strips.interleaved) {
      constexpr int warps = kThreads / kWarp;
      launch(plane_strips_kernel<vec(), Source>,
             Blocks{ceil_divide<int64_t>(plan.strips.partials(), warps), kWarp, warps}, source, partial, plan.strips);
      return;
    }
    const int64_t columns = ceil_divide<int64_t>(plan.strips.channels, plan.columns * vec());
    launch(channel_strips_kernel<vec(), Source>,
           Blocks{plan.strips.count * columns, plan.columns, kThreads / plan.columns}, source, partial, plan.strips,
           static_cast<int>(columns));
  };
  plan.lanes == LANES ? with_lanes(Constant<LANES>()) : with_lanes(Constant<1>());
}

template <int TERMS, typename number, typename Finish, typename Launch>
void launch_join(const Launch& launch, const number* partial, const Finish& finish, const StripPlan& plan) {
  launch(join_strips_kernel<TERMS, number, Finish>, Blocks{plan.strips.channels}, partial, finish, plan.strips);
}

}  // namespace wwae

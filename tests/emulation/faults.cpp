// A kernel with faults that can be planted in it, to see that the builds of the emulation find them.
#include <vector>

#include "cuda/device.cuh"
#include "cuda/vector.cuh"
#include "entry.h"

namespace wwae {
namespace {

enum class Fault : int64_t {
  none,
  no_barrier,
  divergent_barrier,
  skipped_barrier,
  early_exit,
  wrong_mask,
  different_masks,
  lane_outside_mask,
  no_sync_warp,
  shared_out_of_bounds,
  global_out_of_bounds,
  misaligned_vector,
  block_race,
  count,
};

constexpr int kThreadsOfRow = 64;
constexpr int kWarps = kThreadsOfRow / kWarp;

// x: (rows, 4 * 64), output: (rows, 64), where every element is the sum of its row of x. A block sums one row.
template <Fault fault>
__global__ void row_sums_kernel(const float* x, float* output) {
  WWAE_SHARED(float, neighbours, [kWarps][kWarp]);
  WWAE_SHARED(float, partial, [kWarps]);
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / kWarp;
  const int lane = thread % kWarp;
  const bool last = thread == kThreadsOfRow - 1;
  if (fault == Fault::early_exit && last) return;

  const float* own = x + (blockIdx.x * kThreadsOfRow + thread) * 4;
  if (fault == Fault::misaligned_vector && thread == 0) own += 1;
  if (fault == Fault::global_out_of_bounds && last) own += 4;
  const Vector<float, 4> four = load<4>(own);
  float value = (four.lane[0] + four.lane[1]) + (four.lane[2] + four.lane[3]);

  neighbours[warp][lane] = value;
  if (fault != Fault::no_sync_warp) dev::sync_warp(kFullMask);
  value += neighbours[warp][lane ^ 1];
  uint32_t mask = kFullMask;
  if (fault == Fault::wrong_mask || fault == Fault::lane_outside_mask) mask = 0x0000ffff;
  if (fault == Fault::different_masks && lane == 31) mask = 0xfffffffe;
  if (fault == Fault::lane_outside_mask) {
    if (lane < 16) value += dev::shuffle_down(mask, value, 16);
  } else {
    for (int step = 16; step > 1; step /= 2) value += dev::shuffle_xor(mask, value, step);
  }

  float* sums = partial;
  if (lane == 0) sums[fault == Fault::shared_out_of_bounds ? warp + 1 : warp] = value;
  if constexpr (fault == Fault::divergent_barrier) {
    if (warp == 0) {
      dev::sync_threads();
    } else {
      dev::sync_threads();
    }
  } else if (fault != Fault::no_barrier && !(fault == Fault::skipped_barrier && last)) {
    dev::sync_threads();
  }
  float sum = 0;
  for (int i = 0; i < kWarps; ++i) sum += partial[i];
  output[(fault == Fault::block_race ? 0 : blockIdx.x * kThreadsOfRow) + thread] = sum;
}

// Every block writes the first row of x: more traffic than its size.
__global__ void same_row_kernel(float* x) { x[threadIdx.x] = 1; }

template <int64_t... numbers>
void launch(Fault fault, int64_t rows, const float* x, float* output, std::integer_sequence<int64_t, numbers...>) {
  const Blocks blocks = {rows, kThreadsOfRow};
  const auto try_one = [&](auto number) {
    if (number() == static_cast<int64_t>(fault)) {
      EmulatedLaunch()(row_sums_kernel<static_cast<Fault>(number())>, blocks, x, output);
    }
  };
  (try_one(std::integral_constant<int64_t, numbers>()), ...);
}

}  // namespace

// Tensors that end where their memory ends.
WWAE_ENTRY emulate_row_sums(int64_t fault, const float* x, float* output, int64_t rows) {
  std::vector<float> input(x, x + rows * kThreadsOfRow * 4);
  std::vector<float> result(rows * kThreadsOfRow);
  input.shrink_to_fit();
  launch(static_cast<Fault>(fault), rows, input.data(), result.data(),
         std::make_integer_sequence<int64_t, static_cast<int64_t>(Fault::count)>());
  for (size_t i = 0; i < result.size(); ++i) output[i] = result[i];
}

WWAE_ENTRY emulate_same_row(float* x, int64_t blocks) { EmulatedLaunch()(same_row_kernel, Blocks{blocks}, x); }

}  // namespace wwae

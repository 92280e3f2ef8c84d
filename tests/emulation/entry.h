// What the entries in kernels/ share. An entry is a plain function for ctypes that turns codes into types and calls the
// launcher of a CUDA header: what launch.cuh does for tensors. Numbers arrive as int64_t or double, arrays as pointers
// to int64_t, tensors as pointers to host memory in the layout the kernels expect.
#pragma once

#include <cstdint>

#include "cuda/tile.cuh"
#include "emulation.h"
#include "plan.h"
#include "scheduler.h"

#define WWAE_ENTRY extern "C" __attribute__((visibility("default"))) void

namespace wwae {

// What CudaLaunch of launch.cuh is on a GPU.
struct EmulatedLaunch {
  template <typename... Parameters, typename... Arguments>
  void operator()(void (*kernel)(Parameters...), const Tiling& tiling, const Arguments&... arguments) const {
    const auto thread = [&] { kernel(arguments..., tiling); };
    run(kernel, {tiling.blocks, tiling.block_columns, tiling.block_rows, 0}, thread);
  }

  template <typename... Parameters, typename... Arguments>
  void operator()(void (*kernel)(Parameters...), const Blocks& blocks, const Arguments&... arguments) const {
    const auto thread = [&] { kernel(arguments...); };
    run(kernel, {blocks.count, blocks.columns, blocks.rows, blocks.shared_bytes}, thread);
  }

 private:
  template <typename Kernel, typename Thread>
  static void run(Kernel* kernel, const emulation::Grid& grid, const Thread& thread) {
    if (emulation::only_planned(reinterpret_cast<const void*>(kernel), grid)) return;
    emulation::run(grid, [](const void* context) { (*static_cast<const Thread*>(context))(); }, &thread);
  }
};

template <typename T>
struct Tag {
  using type = T;
};

// Calls `body(Tag<scalar_t>())`. Codes: 0 float32, 1 float64, 2 bfloat16, 3 float16.
template <typename Body>
void with_dtype(int64_t dtype, const Body& body) {
  if (dtype == 0) return body(Tag<float>{});
  if (dtype == 1) return body(Tag<double>{});
  if (dtype == 2) return body(Tag<__nv_bfloat16>{});
  body(Tag<__half>{});
}

// Calls `body(Tag<offset_t>())` for offsets of 1, 2 or 4 bytes.
template <typename Body>
void with_offsets(int64_t bytes, const Body& body) {
  if (bytes == 1) return body(Tag<uint8_t>{});
  if (bytes == 2) return body(Tag<int16_t>{});
  body(Tag<int32_t>{});
}

// {input, output, kernel, stride, padding, dilation} of the height, then of the width.
inline Geometry32 geometry_of(const int64_t* g) {
  return Geometry{{g[0], g[1], g[2], g[3], g[4], g[5]}, {g[6], g[7], g[8], g[9], g[10], g[11]}}.as<int32_t>();
}

}  // namespace wwae

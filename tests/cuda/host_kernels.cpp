// The kernels of csrc/cuda as plain functions: a library for ctypes. Pointers are host memory in the layout the kernels
// expect, geometry is {input, output, kernel, stride, padding, dilation} of the height, then of the width.
#include <cstdint>
#include <utility>
#include <vector>

#include "cuda/fixed_unpool2d.cuh"
#include "cuda/max_gather2d.cuh"
#include "cuda/max_pool2d.cuh"
#include "cuda/max_unpool2d.cuh"
#include "cuda/switch_gather2d.cuh"
#include "cuda/switch_pool2d.cuh"
#include "cuda/switch_unpool2d.cuh"

namespace wwae {
namespace {

// Runs a kernel over a tiling; backwards when asked to, since the order of threads must not matter.
struct HostLaunch {
  bool backwards;

  template <typename... Parameters, typename... Arguments>
  void operator()(void (*kernel)(Parameters...), const Tiling& tiling, const Arguments&... arguments) const {
    const int64_t threads = tiling.blocks * kThreads;
    for (int64_t i = 0; i < threads; ++i) {
      const int64_t thread = backwards ? threads - 1 - i : i;
      blockIdx.x = static_cast<unsigned>(thread / kThreads);
      threadIdx.x = static_cast<unsigned>(thread % kThreads % tiling.block_columns);
      threadIdx.y = static_cast<unsigned>(thread % kThreads / tiling.block_columns);
      kernel(arguments..., tiling);
    }
  }
};

Geometry32 geometry_of(const int32_t* g) {
  return {{g[0], g[1], g[2], g[3], g[4], g[5]}, {g[6], g[7], g[8], g[9], g[10], g[11]}};
}

template <typename T>
struct Tag {
  using type = T;
};

// dtype: 0 float32, 1 float64, 2 bfloat16, 3 float16.
template <typename Body>
void with_dtype(int dtype, const Body& body) {
  if (dtype == 0) return body(Tag<float>{});
  if (dtype == 1) return body(Tag<double>{});
  if (dtype == 2) return body(Tag<__nv_bfloat16>{});
  body(Tag<__half>{});
}

template <typename Body>
void with_offsets(int bytes, const Body& body) {
  if (bytes == 1) return body(Tag<uint8_t>{});
  if (bytes == 2) return body(Tag<int16_t>{});
  body(Tag<int32_t>{});
}

template <typename owner_t>
std::vector<owner_t> owners_of(const HostLaunch& launch, const int64_t* indices, const Planes& windows,
                               const Planes& pixels, int64_t images) {
  std::vector<owner_t> owners(images * pixels.size * pixels.channels, -1);
  launch_max_unpool2d_claim(launch, indices, owners.data(), windows, pixels, images);
  return owners;
}

template <typename owner_t, typename word>
void unpool(const HostLaunch& launch, const word* x, const int64_t* indices, word* output, const Planes& windows,
            const Planes& pixels, int64_t images) {
  const auto owners = owners_of<owner_t>(launch, indices, windows, pixels, images);
  launch_max_unpool2d_place(launch, x, owners.data(), output, windows, pixels, images);
}

template <typename owner_t, typename word>
void gather(const HostLaunch& launch, const word* x, const int64_t* indices, word* output, const Planes& windows,
            const Planes& pixels, int64_t images) {
  const auto owners = owners_of<owner_t>(launch, indices, windows, pixels, images);
  launch_max_gather2d(launch, x, indices, owners.data(), output, windows, pixels, images);
}

}  // namespace

extern "C" {

int64_t failed_assertions() { return std::exchange(dev::failed_assertions, 0); }

void switch_pool2d(bool backwards, int dtype, int offset_bytes, const void* x, void* values, void* offsets,
                   int64_t* indices, const int32_t* geometry, int64_t images, int64_t channels) {
  const HostLaunch launch{backwards};
  with_dtype(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    const PoolTensors<scalar_t> tensors = {static_cast<const scalar_t*>(x), static_cast<scalar_t*>(values), offsets,
                                           indices, channels};
    with_offsets(offset_bytes, [&](auto offset) {
      using offset_t = typename decltype(offset)::type;
      if (indices == nullptr) {
        launch_switch_pool2d<offset_t, false>(launch, tensors, geometry_of(geometry), images);
      } else {
        launch_switch_pool2d<offset_t, true>(launch, tensors, geometry_of(geometry), images);
      }
    });
  });
}

void switch_unpool2d(bool backwards, int dtype, int offset_bytes, const void* x, const void* offsets, void* output,
                     const int32_t* geometry, int64_t images, int64_t channels, int overlap) {
  with_dtype(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    with_offsets(offset_bytes, [&](auto offset) {
      using offset_t = typename decltype(offset)::type;
      launch_switch_unpool2d(HostLaunch{backwards}, static_cast<const scalar_t*>(x),
                             RecordedSwitches<offset_t>{static_cast<const offset_t*>(offsets)},
                             static_cast<scalar_t*>(output), geometry_of(geometry), images, channels,
                             static_cast<Overlap>(overlap));
    });
  });
}

void switch_gather2d(bool backwards, int dtype, int offset_bytes, const void* x, const void* offsets, void* output,
                     const int32_t* geometry, int64_t images, int64_t channels, int overlap) {
  with_dtype(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    with_offsets(offset_bytes, [&](auto offset) {
      using offset_t = typename decltype(offset)::type;
      launch_switch_gather2d(HostLaunch{backwards}, static_cast<const scalar_t*>(x),
                             static_cast<const offset_t*>(offsets), static_cast<scalar_t*>(output),
                             geometry_of(geometry), images, channels, static_cast<Overlap>(overlap));
    });
  });
}

// sizes: height and width of the output, of x, of the stride, of the position.
void fixed_unpool2d(bool backwards, int dtype, const void* x, void* output, const int32_t* sizes, int64_t images,
                    int64_t channels) {
  with_dtype(dtype, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    launch_fixed_unpool2d(HostLaunch{backwards}, static_cast<const scalar_t*>(x), static_cast<scalar_t*>(output),
                          {sizes[0], sizes[1]}, {sizes[2], sizes[3]}, {sizes[4], sizes[5]}, {sizes[6], sizes[7]},
                          images, channels);
  });
}

void max_unpool2d(bool backwards, bool wide_owners, int dtype, const void* x, const int64_t* indices, void* output,
                  int64_t windows, int64_t pixels, int64_t images, int64_t channels) {
  with_dtype(dtype, [&](auto scalar) {
    using word = word_t<typename decltype(scalar)::type>;
    const auto run = wide_owners ? unpool<int64_t, word> : unpool<int32_t, word>;
    run(HostLaunch{backwards}, static_cast<const word*>(x), indices, static_cast<word*>(output), {windows, channels},
        {pixels, channels}, images);
  });
}

void max_gather2d(bool backwards, bool wide_owners, int dtype, const void* x, const int64_t* indices, void* output,
                  int64_t windows, int64_t pixels, int64_t images, int64_t channels) {
  with_dtype(dtype, [&](auto scalar) {
    using word = word_t<typename decltype(scalar)::type>;
    const auto run = wide_owners ? gather<int64_t, word> : gather<int32_t, word>;
    run(HostLaunch{backwards}, static_cast<const word*>(x), indices, static_cast<word*>(output), {windows, channels},
        {pixels, channels}, images);
  });
}

}  // extern "C"
}  // namespace wwae

// The owner map of max_unpool2d and max_gather2d, on the host: allocated, filled with -1 and claimed.
#pragma once

#include "cuda/launch.cuh"
#include "cuda/max_unpool2d.cuh"

namespace wwae {

// Calls `body(owner, windows, pixels, images)` with the claimed owner map of `indices` (N, C, OH, OW, in `layout`, not
// empty) in planes of `height` x `width`, and the geometry of both maps.
template <typename Body>
void with_owners(const Tensor& indices, MemoryFormat layout, int64_t height, int64_t width, const Body& body) {
  const auto [images, channels] = interleaving(indices, layout);
  const Planes windows = {indices.size(2) * indices.size(3), channels};
  const Planes pixels = {height * width, channels};
  const auto claim = [&, images = images](auto tag, ScalarType dtype) {
    using owner_t = typename decltype(tag)::type;
    const Tensor owner = allocate({indices.size(0), indices.size(1), height, width}, dtype, layout, indices);
    const CudaLaunch launch = launch_on_device_of(indices);
    STD_CUDA_CHECK(cudaMemsetAsync(owner.mutable_data_ptr(), 0xff, owner.numel() * sizeof(owner_t), launch.stream));
    launch_max_unpool2d_claim(launch, elements<int64_t>(indices), mutable_elements<owner_t>(owner), windows, pixels,
                              images);
    body(elements<owner_t>(owner), windows, pixels, images);
  };
  if (windows.size <= std::numeric_limits<int32_t>::max()) {
    claim(TypeTag<int32_t>{}, ScalarType::Int);
  } else {
    claim(TypeTag<int64_t>{}, ScalarType::Long);
  }
}

}  // namespace wwae

// The owner map of max_unpool2d and max_gather2d: what owners.cuh does for tensors.
#pragma once

#include <vector>

#include "cuda/max_unpool2d.cuh"
#include "entry.h"

namespace wwae {

// Calls `body(owners)` with the claimed owner map, of int64 where `wide`, else of int32.
template <typename Body>
void with_owners(bool wide, const int64_t* indices, const Planes& windows, const Planes& pixels, int64_t images,
                 const Body& body) {
  const auto claim = [&](auto owner) {
    using owner_t = decltype(owner);
    std::vector<owner_t> owners(images * pixels.size * pixels.channels);
    emulation::watch(owners.data(), owners.size() * sizeof(owner_t));
    for (owner_t& unclaimed : owners) unclaimed = owner;
    launch_max_unpool2d_claim(EmulatedLaunch(), indices, owners.data(), windows, pixels, images);
    body(static_cast<const owner_t*>(owners.data()));
  };
  if (wide) return claim(int64_t{-1});
  claim(int32_t{-1});
}

}  // namespace wwae

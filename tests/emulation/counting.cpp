// Counts the kernels' accesses to global memory, in the build where the compiler announces each access as it would to
// ThreadSanitizer. Nothing in a kernel needs to be written for it, and nothing escapes it.
#include "counting.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace wwae::emulation {
namespace {

enum Kind { kLoad, kStore };

struct Tensor {
  uintptr_t begin;
  uintptr_t end;
  int64_t requested[2];  // bytes of all loads, of all stores
  int64_t moved[2];  // bytes of the sectors that they touch, counted once a launch
  std::vector<bool> touched[2];  // by sector
};

std::vector<Tensor> tensors;

void count(const void* address, size_t bytes, Kind kind) {
  const auto first = reinterpret_cast<uintptr_t>(address);
  for (Tensor& tensor : tensors) {
    if (first < tensor.begin || first >= tensor.end) continue;
    tensor.requested[kind] += static_cast<int64_t>(bytes);
    for (uintptr_t at = first; at < first + bytes; ++at) {
      const uintptr_t sector = (at - tensor.begin) / kSectorBytes;
      if (tensor.touched[kind][sector]) continue;
      tensor.touched[kind][sector] = true;
      tensor.moved[kind] += std::min<int64_t>(kSectorBytes, tensor.end - tensor.begin - sector * kSectorBytes);
    }
    return;
  }
}

}  // namespace

void watch(const void* address, int64_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(address);
  const std::vector<bool> untouched((bytes + kSectorBytes - 1) / kSectorBytes);
  tensors.push_back({begin, begin + bytes, {}, {}, {untouched, untouched}});
}

void begin_launch() {
  for (Tensor& tensor : tensors) {
    for (std::vector<bool>& touched : tensor.touched) std::fill(touched.begin(), touched.end(), false);
  }
}

void count_atomic(const void* address, size_t bytes) { count(address, bytes, kStore); }

extern "C" {

#define WWAE_EXPORT __attribute__((visibility("default")))

WWAE_EXPORT void emulation_watch(const void* address, int64_t bytes) { watch(address, bytes); }

// {bytes, requested by loads, by stores, moved by loads, by stores} of the next watched tensor, which is watched no
// longer; 0 when there is none.
WWAE_EXPORT int64_t emulation_unwatch(int64_t* counts) {
  if (tensors.empty()) return 0;
  const Tensor& tensor = tensors.front();
  counts[0] = static_cast<int64_t>(tensor.end - tensor.begin);
  for (int kind = 0; kind < 2; ++kind) {
    counts[1 + kind] = tensor.requested[kind];
    counts[3 + kind] = tensor.moved[kind];
  }
  tensors.erase(tensors.begin());
  return 1;
}

#if defined(WWAE_COUNTED)
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_read_range(void* address, size_t bytes) { count(address, bytes, kLoad); }
void __tsan_write_range(void* address, size_t bytes) { count(address, bytes, kStore); }
#define WWAE_COUNT(bytes)                                                            \
  void __tsan_read##bytes(void* address) { count(address, bytes, kLoad); }           \
  void __tsan_write##bytes(void* address) { count(address, bytes, kStore); }         \
  void __tsan_unaligned_read##bytes(void* address) { count(address, bytes, kLoad); } \
  void __tsan_unaligned_write##bytes(void* address) { count(address, bytes, kStore); }
WWAE_COUNT(1)
WWAE_COUNT(2)
WWAE_COUNT(4)
WWAE_COUNT(8)
WWAE_COUNT(16)
#endif

}  // extern "C"

}  // namespace wwae::emulation

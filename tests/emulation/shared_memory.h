// The shared variables of a block, made when the first thread names them, all bits set.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <vector>

namespace wwae::emulation {

class SharedMemory {
 public:
  void begin_block() {
#if defined(WWAE_THREAD_SANITIZER)
    arenas_.push_back(static_cast<unsigned char*>(malloc(kArenaBytes)));
    arena_used_ = 0;
#endif
  }

  void* variable(const void* key, size_t bytes, size_t alignment) {
    for (const Variable& known : variables_) {
      if (known.key == key) return known.memory;
    }
    void* memory = allocate(bytes, std::max<size_t>(alignment, 16));
    for (size_t i = 0; i < bytes; ++i) static_cast<volatile unsigned char*>(memory)[i] = 0xff;
    variables_.push_back({key, memory});
    return memory;
  }

  void end_block() {
#if !defined(WWAE_THREAD_SANITIZER)
    for (const Variable& variable : variables_) free(variable.memory);
#endif
    variables_.clear();
  }

  void end_launch() {
    for (unsigned char* arena : arenas_) free(arena);
    arenas_.clear();
  }

 private:
  struct Variable {
    const void* key;
    void* memory;
  };

  void* allocate(size_t bytes, size_t alignment) {
#if defined(WWAE_THREAD_SANITIZER)
    // Memory that was there before the threads of the block: to take it from the heap now would be an access.
    arena_used_ = (arena_used_ + alignment - 1) / alignment * alignment;
    void* memory = arenas_.back() + arena_used_;
    arena_used_ += bytes;
    if (arena_used_ > kArenaBytes) abort();
#else
    // A block of exactly this size, so that AddressSanitizer sees an access behind it.
    void* memory = nullptr;
    if (posix_memalign(&memory, alignment, bytes) != 0) abort();
#endif
    return memory;
  }

  static constexpr size_t kArenaBytes = 256 * 1024;  // more than any GPU gives a block

  std::vector<Variable> variables_;
  std::vector<unsigned char*> arenas_;  // of the blocks of the launch
  size_t arena_used_ = 0;
};

}  // namespace wwae::emulation

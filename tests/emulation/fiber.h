// Threads of execution that take turns on one thread of the operating system, each on a stack of its own with a guard
// page below it. The sanitizers are told of every switch.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace wwae::emulation {

class Fiber {
 public:
  // The caller itself, so that others can switch back to it.
  Fiber();
  // A fiber that calls `entry`, which never returns, when it is first switched to.
  explicit Fiber(void (*entry)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // `from` is the fiber that runs. Returns when somebody switches back to it.
  static void switch_to(Fiber& from, Fiber& to);

  // Lets ThreadSanitizer believe that `to` runs in place of the caller; nothing else changes.
  static void pretend(Fiber& to);

  // What every `entry` calls first.
  void begin();

 private:
  char* stack_ = nullptr;  // null: the caller's
  const void* bottom_ = nullptr;
  size_t size_ = 0;
  void* announced_ = nullptr;  // AddressSanitizer's and ThreadSanitizer's name for it
#if defined(__x86_64__)
  void* pointer_ = nullptr;  // stack pointer while it does not run
#else
  ucontext_t context_ = {};
#endif
};

}  // namespace wwae::emulation

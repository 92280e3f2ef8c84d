#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#if defined(WWAE_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(WWAE_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif

namespace wwae::emulation {

namespace {
constexpr size_t kStackBytes = 256 * 1024;

#if defined(WWAE_ADDRESS_SANITIZER)
// Of the fiber that was switched away from last: the caller's own stack becomes known at the first switch.
const void** left_bottom;
size_t* left_size;
#endif
}  // namespace

#if defined(__x86_64__)
// Saves what a called function has to preserve, and goes on where the other stack was left.
extern "C" void wwae_switch_stack(void** save, void* load);
asm(R"(
.text
.hidden wwae_switch_stack
.globl wwae_switch_stack
.type wwae_switch_stack, @function
wwae_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size wwae_switch_stack, .-wwae_switch_stack
)");
#endif

Fiber::Fiber() {
#if defined(WWAE_THREAD_SANITIZER)
  announced_ = __tsan_get_current_fiber();
#endif
}

Fiber::Fiber(void (*entry)()) {
  const size_t page = sysconf(_SC_PAGESIZE);
  void* memory = mmap(nullptr, page + kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) abort();
  stack_ = static_cast<char*>(memory);
  bottom_ = stack_ + page;
  size_ = kStackBytes;
#if defined(WWAE_THREAD_SANITIZER)
  announced_ = __tsan_create_fiber(0);
#endif
  char* top = stack_ + page + kStackBytes;
#if defined(__x86_64__)
  // As wwae_switch_stack leaves a stack: six registers, then where to go on; a function starts 8 bytes off a multiple
  // of 16.
  void** frame = reinterpret_cast<void**>(top) - 8;
  for (int i = 0; i < 6; ++i) frame[i] = nullptr;
  frame[6] = reinterpret_cast<void*>(entry);
  frame[7] = nullptr;  // where `entry` would return to
  pointer_ = frame;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = top - kStackBytes;
  context_.uc_stack.ss_size = kStackBytes;
  makecontext(&context_, entry, 0);
#endif
}

Fiber::~Fiber() {
  if (stack_ == nullptr) return;
#if defined(WWAE_ADDRESS_SANITIZER)
  // It may have been left in the middle of a function, whose variables have guarded surroundings.
  __asan_unpoison_memory_region(bottom_, size_);
#elif defined(WWAE_THREAD_SANITIZER)
  __tsan_destroy_fiber(announced_);
#endif
  munmap(stack_, size_ + sysconf(_SC_PAGESIZE));
}

void Fiber::begin() {
#if defined(WWAE_ADDRESS_SANITIZER)
  __sanitizer_finish_switch_fiber(announced_, left_bottom, left_size);
#endif
}

void Fiber::pretend([[maybe_unused]] Fiber& to) {
#if defined(WWAE_THREAD_SANITIZER)
  __tsan_switch_to_fiber(to.announced_, __tsan_switch_to_fiber_no_sync);
#endif
}

void Fiber::switch_to(Fiber& from, Fiber& to) {
#if defined(WWAE_ADDRESS_SANITIZER)
  left_bottom = &from.bottom_;
  left_size = &from.size_;
  __sanitizer_start_switch_fiber(&from.announced_, to.bottom_, to.size_);
#endif
  pretend(to);
#if defined(__x86_64__)
  wwae_switch_stack(&from.pointer_, to.pointer_);
#else
  swapcontext(&from.context_, &to.context_);
#endif
  from.begin();
}

}  // namespace wwae::emulation

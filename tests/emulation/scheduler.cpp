#include "scheduler.h"

#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "counting.h"
#include "emulation.h"
#include "fiber.h"
#include "shared_memory.h"
#include "turns.h"

#if defined(WWAE_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif

namespace wwae::emulation {
namespace {

#if defined(WWAE_THREAD_SANITIZER)
// Each thread of a launch is a thread for ThreadSanitizer too: the threads of different blocks share no fiber and no
// memory. Fibers serve again in the next launch, which begins after all of them have ended.
constexpr bool kOwnFibers = true;
constexpr int64_t kMostThreads = 4096;
#else
constexpr bool kOwnFibers = false;
#endif

struct Warp {
  uint32_t lanes, at_barrier, in_collective, finished;
  Collective* waiting[kLanes];
  Fiber* fibers[kLanes];  // null: not started
  char meeting[kLanes][2];  // what ThreadSanitizer synchronises on, by the lowest lane of a mask and by turns
  uint8_t turn[kLanes];
};

void release([[maybe_unused]] void* address) {
#if defined(WWAE_THREAD_SANITIZER)
  __tsan_release(address);
#endif
}

void acquire([[maybe_unused]] void* address) {
#if defined(WWAE_THREAD_SANITIZER)
  __tsan_acquire(address);
#endif
}

bool same(Site a, Site b) { return a.line == b.line && (a.file == b.file || !strcmp(a.file, b.file)); }

[[gnu::format(printf, 1, 2)]] std::string format(const char* form, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, form);
  vsnprintf(text, sizeof(text), form, arguments);
  va_end(arguments);
  return text;
}

void fiber_entry();

class Scheduler {
 public:
  Turns turns;
  std::string error;

  void launch(const Grid& grid, void (*body)(const void*), const void* context) {
    if (!error.empty()) return;
    const int threads = grid.columns * grid.rows;
    if (threads < 1 || threads > kLanes * kMostWarps) {
      error = format("a block of %d threads: expected 1 to 1024", threads);
      return;
    }
#if defined(WWAE_THREAD_SANITIZER)
    if (grid.blocks * threads > kMostThreads) {
      error = format("a launch of %ld threads: expected at most %ld beside ThreadSanitizer", grid.blocks * threads,
                     kMostThreads);
      return;
    }
#endif
    body_ = body;
    context_ = context;
    grid_ = grid;
    blockDim = {static_cast<unsigned>(grid.columns), static_cast<unsigned>(grid.rows), 1};
    gridDim = {static_cast<unsigned>(grid.blocks), 1, 1};
    if (kOwnFibers) fibers_used_ = 0;
    begin_launch();
    for (const int64_t number : turns.of_blocks(grid.blocks)) {
      run_block(number, threads);
      if (!error.empty()) break;
    }
    if (!error.empty()) {
      // Threads that were left in the middle end here.
      for (const auto& fiber : fibers_) {
        Fiber::pretend(*fiber);
        release(&launch_end_);
      }
      Fiber::pretend(main_);
    }
    acquire(&launch_end_);
    shared_.end_launch();
    if (!error.empty()) {
      fibers_.clear();
      free_.clear();
      fibers_used_ = 0;
    }
  }

  // What a fiber does: one thread after another, each to its end.
  void run_threads() {
    current_fiber()->begin();
    for (;;) {
      acquire(&block_start_);
      body_(context_);
      if (copies_[current_].waiting != 0) stop(format("thread %d leaves the kernel with unfinished copies", current_));
      release(&launch_end_);
      current_warp().finished |= own_lane();
      --live_;
      const int next = turns.next();
      Fiber* fiber = current_fiber();
      if (next >= 0 && fiber_of(next) == nullptr) {
        enter(next);
        current_fiber() = fiber;
      } else {
        // This fiber is free from now on; it comes back when it has another thread to run.
        if (!kOwnFibers) free_.push_back(fiber);
        resume(*fiber, next);
      }
    }
  }

  void wait_at_barrier(Site site) {
    if (barrier_arrivals_ > 0 && !same(site, barrier_site_)) {
      fail(format("sync_threads: thread %d is here while others wait at %s:%d", current_, barrier_site_.file,
                  barrier_site_.line),
           site);
    }
    barrier_site_ = site;
    void* meeting = &barrier_meeting_[barrier_turn_];
    release(meeting);
    current_warp().at_barrier |= own_lane();
    if (++barrier_arrivals_ == threads_) {
      barrier_arrivals_ = 0;
      barrier_turn_ ^= 1;
      for (int w = 0; w < warp_count_; ++w) {
        turns.make_ready(w, warps_[w].at_barrier);
        warps_[w].at_barrier = 0;
      }
      turns.favour_anew();
    }
    resume(*current_fiber(), turns.next());
    acquire(meeting);
  }

  void wait_for_lanes(Collective& mine) {
    check_mask(mine);
    Warp& warp = current_warp();
    const uint32_t mask = mine.mask;
    warp.waiting[current_ % kLanes] = &mine;
    warp.in_collective |= own_lane();
    const int lowest = std::countr_zero(mask);
    void* meeting = &warp.meeting[lowest][warp.turn[lowest]];
    // Only sync_warp orders accesses to memory.
    if (mine.complete == meet) release(meeting);
    if ((warp.in_collective & mask) == mask) {
      warp.turn[lowest] ^= 1;
      mine.complete(warp.waiting, mine);
      warp.in_collective &= ~mask;
      turns.make_ready(current_ / kLanes, mask);
    }
    resume(*current_fiber(), turns.next());
    if (mine.complete == meet) acquire(meeting);
  }

  void* variable(const void* key, size_t bytes, size_t alignment) { return shared_.variable(key, bytes, alignment); }
  void* dynamic_variable() { return shared_.variable(this, grid_.shared_bytes, 128); }

  [[noreturn]] void fail(const std::string& message, Site site) {
    stop(format("%s:%d: %s (block %u, thread %d)", site.file, site.line, message.c_str(), blockIdx.x, current_));
  }

  int lane() const { return current_ % kLanes; }
  Copies& copies() { return copies_[current_]; }

 private:
  Warp& current_warp() { return warps_[current_ / kLanes]; }
  Fiber*& fiber_of(int thread) { return warps_[thread / kLanes].fibers[thread % kLanes]; }
  Fiber*& current_fiber() { return fiber_of(current_); }
  uint32_t own_lane() const { return uint32_t{1} << current_ % kLanes; }

  // Leaves the launch: no thread of it goes on.
  [[noreturn]] void stop(std::string message) {
    error = std::move(message);
    Fiber::switch_to(*current_fiber(), main_);
    abort();
  }

  void run_block(int64_t number, int threads) {
    threads_ = live_ = threads;
    warp_count_ = (threads + kLanes - 1) / kLanes;
    barrier_arrivals_ = 0;
    blockIdx.x = static_cast<unsigned>(number);
    shared_.begin_block();
    // The caller knows of nothing that earlier blocks did until the launch ends.
    release(&block_start_);
    for (int w = 0; w < warp_count_; ++w) {
      const int lanes = std::min(threads - w * kLanes, kLanes);
      warps_[w] = {};
      warps_[w].lanes = static_cast<uint32_t>((uint64_t{1} << lanes) - 1);
    }
    for (int thread = 0; thread < threads; ++thread) {
      copies_[thread].waiting = copies_[thread].groups = 0;
      if (kOwnFibers) fiber_of(thread) = unused_fiber();
    }
    turns.begin(threads);
    resume(main_, turns.next());
    if (error.empty() && live_ > 0) error = standstill();
    shared_.end_block();
  }

  Fiber* unused_fiber() {
    if (fibers_used_ == fibers_.size()) {
      fibers_.push_back(std::make_unique<Fiber>(fiber_entry));
      free_.reserve(fibers_.size());
    }
    return fibers_[fibers_used_++].get();
  }

  // Makes `thread` the running one; its code goes on at its fiber.
  void enter(int thread) {
    current_ = thread;
    turns.take(thread);
    threadIdx.x = static_cast<unsigned>(thread % grid_.columns);
    threadIdx.y = static_cast<unsigned>(thread / grid_.columns);
  }

  // Goes on with thread `next`, or with the caller of the launch where there is none.
  void resume(Fiber& from, int next) {
    if (next < 0) {
      if (&from != &main_) Fiber::switch_to(from, main_);
      return;
    }
    enter(next);
    if (current_fiber() == nullptr) {
      if (free_.empty()) {
        current_fiber() = unused_fiber();
      } else {
        current_fiber() = free_.back();
        free_.pop_back();
      }
    }
    if (current_fiber() != &from) Fiber::switch_to(from, *current_fiber());
  }

  void check_mask(const Collective& mine) {
    const Warp& warp = current_warp();
    const uint32_t mask = mine.mask;
    if (!(mask & own_lane())) {
      fail(format("%s: mask %#x leaves out lane %d, which calls it", mine.name, mask, lane()), mine.site);
    }
    if (const uint32_t absent = mask & ~warp.lanes) {
      fail(format("%s: mask %#x names lanes %#x, which the block has not", mine.name, mask, absent), mine.site);
    }
    if (const uint32_t gone = mask & warp.finished) {
      fail(format("%s: mask %#x names lanes %#x, which have left the kernel", mine.name, mask, gone), mine.site);
    }
    for (uint32_t rest = mask & warp.in_collective; rest != 0; rest &= rest - 1) {
      const Collective& other = *warp.waiting[std::countr_zero(rest)];
      if (other.mask == mask && other.complete == mine.complete && same(other.site, mine.site)) continue;
      fail(format("%s: lane %d is here with mask %#x while lane %d waits in %s with mask %#x at %s:%d", mine.name,
                  lane(), mask, std::countr_zero(rest), other.name, other.mask, other.site.file, other.site.line),
           mine.site);
    }
  }

  // Some threads live and none can run: who waits where.
  std::string standstill() {
    std::string text = format("no thread of block %u can go on:", blockIdx.x);
    int finished = 0;
    for (int w = 0; w < warp_count_; ++w) finished += std::popcount(warps_[w].finished);
    if (barrier_arrivals_ > 0) {
      text += format(" %d wait in sync_threads at %s:%d;", barrier_arrivals_, barrier_site_.file, barrier_site_.line);
    }
    for (int w = 0; w < warp_count_; ++w) {
      const uint32_t lanes = warps_[w].in_collective;
      if (lanes == 0) continue;
      const Collective& one = *warps_[w].waiting[std::countr_zero(lanes)];
      text += format(" lanes %#x of warp %d wait in %s with mask %#x at %s:%d;", lanes, w, one.name, one.mask,
                     one.site.file, one.site.line);
    }
    return text + format(" %d of %d have left the kernel", finished, threads_);
  }

  Grid grid_ = {};
  void (*body_)(const void*) = nullptr;
  const void* context_ = nullptr;

  Warp warps_[kMostWarps] = {};
  Copies copies_[kMostWarps * kLanes] = {};
  int warp_count_ = 0;
  int threads_ = 0;
  int live_ = 0;
  int current_ = 0;

  Site barrier_site_ = {};
  int barrier_arrivals_ = 0;
  int barrier_turn_ = 0;
  char barrier_meeting_[2] = {};
  char block_start_ = 0;
  char launch_end_ = 0;

  SharedMemory shared_;
  Fiber main_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> free_;
  size_t fibers_used_ = 0;
};

Scheduler& scheduler() {
  static Scheduler scheduler;
  return scheduler;
}

void fiber_entry() { scheduler().run_threads(); }

}  // namespace

void set_order(Order order, uint64_t seed) { scheduler().turns.set_order(order, seed); }

void run(const Grid& grid, void (*body)(const void*), const void* context) { scheduler().launch(grid, body, context); }

const char* take_error() {
  static std::string taken;
  taken = std::move(scheduler().error);
  scheduler().error.clear();
  return taken.empty() ? nullptr : taken.c_str();
}

void barrier(Site site) { scheduler().wait_at_barrier(site); }
void collective(Collective& mine) { scheduler().wait_for_lanes(mine); }
void* shared(const void* key, size_t bytes, size_t alignment) { return scheduler().variable(key, bytes, alignment); }
void* dynamic_shared() { return scheduler().dynamic_variable(); }
void fail(const char* message, Site site) { scheduler().fail(message, site); }
int lane() { return scheduler().lane(); }
Copies& copies() { return scheduler().copies(); }

}  // namespace wwae::emulation

#include "scheduler.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "counting.h"
#include "emulation.h"
#include "fiber.h"

#if defined(WWAE_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif

namespace wwae::emulation {
namespace {

constexpr int kWarp = 32;
constexpr int kMostWarps = 32;
#if defined(WWAE_THREAD_SANITIZER)
// Each thread of a launch is a thread for ThreadSanitizer too: the threads of different blocks share no fiber and no
// memory. Fibers serve again in the next launch, which begins after all of them have ended.
constexpr bool kOwnFibers = true;
constexpr int64_t kMostThreads = 4096;
constexpr size_t kArenaBytes = 100 * 1024;
#else
constexpr bool kOwnFibers = false;
#endif

struct Variable {
  const void* key;
  void* memory;
};

struct Warp {
  uint32_t unstarted, ready, at_barrier, in_collective, finished;
  Collective* waiting[kWarp];
  Fiber* fibers[kWarp];
  uint64_t favour;
  char meeting[kWarp][2];  // what ThreadSanitizer synchronises on, by lowest lane and turn
  uint8_t turn[kWarp];

  uint32_t runnable() const { return unstarted | ready; }
  uint32_t lanes() const { return unstarted | ready | at_barrier | in_collective | finished; }
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

void run_threads();

class Block {
 public:
  void set_order(Order order, uint64_t seed) {
    order_ = order;
    random_.seed(seed);
  }

  std::vector<int64_t> block_order(int64_t blocks) {
    std::vector<int64_t> numbers(blocks);
    std::iota(numbers.begin(), numbers.end(), 0);
    if (order_ == Order::reverse) std::reverse(numbers.begin(), numbers.end());
    if (order_ == Order::random) std::shuffle(numbers.begin(), numbers.end(), random_);
    return numbers;
  }

  void launch(const Grid& grid, void (*body)(const void*), const void* context) {
    if (!error.empty()) return;
    begin_launch();
    body_ = body;
    context_ = context;
    grid_ = grid;
    blockDim = {static_cast<unsigned>(grid.columns), static_cast<unsigned>(grid.rows), 1};
    gridDim = {static_cast<unsigned>(grid.blocks), 1, 1};
    const int threads = grid.columns * grid.rows;
    if (threads < 1 || threads > kWarp * kMostWarps) {
      error = "a block of " + std::to_string(threads) + " threads: expected 1 to 1024";
      return;
    }
#if defined(WWAE_THREAD_SANITIZER)
    if (grid.blocks * threads > kMostThreads) {
      error = "too many threads for ThreadSanitizer: " + std::to_string(grid.blocks * threads);
      return;
    }
#endif
    fibers_used_ = 0;
    for (const int64_t number : block_order(grid.blocks)) {
      run_block(number, threads);
      if (!error.empty()) break;
    }
    end_launch();
  }

  // The threads of a fiber: each runs to its end, and others go on at their own fibers meanwhile.
  void run_threads_here() {
    current_fiber()->begin();
    for (;;) {
      acquire(&block_start_);
      body_(context_);
      if (copies_unfinished()) fail("a thread ends with unfinished copies", Site{"", 0});
      finish();
      int next = live_ > 0 ? pick() : -1;
      if (next >= 0 && !kOwnFibers && (warps_[next / kWarp].unstarted >> next % kWarp & 1)) {
        Fiber* fiber = current_fiber();
        enter(next);
        current_warp().fibers[current_ % kWarp] = fiber;
        continue;
      }
      // This fiber is free from now on; it comes back when it has another thread to run.
      Fiber* fiber = current_fiber();
      if (!kOwnFibers) free_.push_back(fiber);
      resume(*fiber, next);
    }
  }

  void wait_at_barrier(Site site) {
    if (barrier_arrivals_ == 0) {
      barrier_site_ = site;
    } else if (!same(site, barrier_site_)) {
      fail(format("sync_threads: thread %d is here while others wait at %s:%d", current_, barrier_site_.file,
                  barrier_site_.line),
           site);
    }
    void* meeting = &barrier_meeting_[barrier_turn_];
    release(meeting);
    if (++barrier_arrivals_ == threads_) {
      barrier_arrivals_ = 0;
      barrier_turn_ ^= 1;
      for (int w = 0; w < warp_count_; ++w) {
        warps_[w].ready |= warps_[w].at_barrier;
        warps_[w].at_barrier = 0;
        favour_anew(w);
      }
      set(current_, &Warp::ready);
      go_on_later();
    } else {
      set(current_, &Warp::at_barrier);
      go_on_later();
    }
    acquire(meeting);
  }

  void wait_for_lanes(Collective& mine) {
    Warp& warp = current_warp();
    const int lane = current_ % kWarp;
    const uint32_t own = uint32_t{1} << lane;
    const uint32_t mask = mine.mask;
    if (!(mask & own))
      fail(format("%s: mask %#x leaves out lane %d, which calls it", mine.name, mask, lane), mine.site);
    if (const uint32_t absent = mask & ~(warp.lanes() | own)) {
      fail(format("%s: mask %#x names lanes %#x, which the block has not", mine.name, mask, absent), mine.site);
    }
    if (const uint32_t gone = mask & warp.finished) {
      fail(format("%s: mask %#x names lanes %#x, which have left the kernel", mine.name, mask, gone), mine.site);
    }
    for (uint32_t rest = mask & warp.in_collective; rest != 0; rest &= rest - 1) {
      const Collective& other = *warp.waiting[std::countr_zero(rest)];
      if (other.mask != mask || other.complete != mine.complete || !same(other.site, mine.site)) {
        fail(format("%s: lane %d is here with mask %#x while lane %d waits in %s with mask %#x at %s:%d", mine.name,
                    lane, mask, std::countr_zero(rest), other.name, other.mask, other.site.file, other.site.line),
             mine.site);
      }
    }
    warp.waiting[lane] = &mine;
    const int leader = std::countr_zero(mask);
    void* meeting = &warp.meeting[leader][warp.turn[leader]];
    // Only sync_warp orders accesses to memory.
    if (mine.complete == meet) release(meeting);
    if (((warp.in_collective | own) & mask) == mask) {
      warp.turn[leader] ^= 1;
      mine.complete(warp.waiting, mine);
      warp.in_collective &= ~mask;
      warp.ready |= mask & ~own;
      runnable_warps_ |= warp.ready ? uint32_t{1} << current_ / kWarp : 0;
      set(current_, &Warp::ready);
    } else {
      set(current_, &Warp::in_collective);
    }
    go_on_later();
    if (mine.complete == meet) acquire(meeting);
  }

  void* variable(const void* key, size_t bytes, size_t alignment) {
    for (const Variable& known : variables_) {
      if (known.key == key) return known.memory;
    }
    alignment = std::max<size_t>(alignment, 16);
#if defined(WWAE_THREAD_SANITIZER)
    // Memory that was there before the threads of the block: to take it from the heap now would be an access.
    arena_used_ = (arena_used_ + alignment - 1) / alignment * alignment;
    void* memory = arenas_.back() + arena_used_;
    arena_used_ += bytes;
    if (arena_used_ > kArenaBytes) abort();
#else
    void* memory = nullptr;
    if (posix_memalign(&memory, alignment, bytes) != 0) abort();
#endif
    for (size_t i = 0; i < bytes; ++i) static_cast<volatile unsigned char*>(memory)[i] = 0xff;
    variables_.push_back({key, memory});
    return memory;
  }

  void* dynamic_variable() { return variable(this, grid_.shared_bytes, 16); }

  [[noreturn]] void stop(std::string message) {
    error = std::move(message);
    Fiber::switch_to(*current_fiber(), main_);
    abort();
  }

  [[noreturn]] void fail(const std::string& message, Site site) {
    const std::string place = site.line > 0 ? format("%s:%d: ", site.file, site.line) : "";
    stop(place + message + format(" (block %u, thread %d)", blockIdx.x, current_));
  }

  int current_lane() const { return current_ % kWarp; }

  std::string error;

 private:
  static std::string format(const char* form, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, form);
    vsnprintf(text, sizeof(text), form, arguments);
    va_end(arguments);
    return text;
  }

  static bool same(Site a, Site b) { return a.line == b.line && (a.file == b.file || !strcmp(a.file, b.file)); }

  Warp& current_warp() { return warps_[current_ / kWarp]; }
  Fiber*& current_fiber() { return current_warp().fibers[current_ % kWarp]; }

  static bool copies_unfinished() { return false; }

  void run_block(int64_t number, int threads) {
    threads_ = live_ = threads;
    warp_count_ = (threads + kWarp - 1) / kWarp;
    runnable_warps_ = 0;
    barrier_arrivals_ = 0;
    blockIdx.x = static_cast<unsigned>(number);
#if defined(WWAE_THREAD_SANITIZER)
    arenas_.push_back(static_cast<unsigned char*>(malloc(kArenaBytes)));
    arena_used_ = 0;
#endif
    // The caller knows of nothing that earlier blocks did until the launch ends.
    release(&block_start_);
    for (int w = 0; w < warp_count_; ++w) {
      Warp& warp = warps_[w];
      const int lanes = std::min(threads - w * kWarp, kWarp);
      warp.unstarted = static_cast<uint32_t>((uint64_t{1} << lanes) - 1);
      warp.ready = warp.at_barrier = warp.in_collective = warp.finished = 0;
      runnable_warps_ |= uint32_t{1} << w;
      favour_anew(w);
      if (kOwnFibers) {
        for (int lane = 0; lane < lanes; ++lane) {
          warp.fibers[lane] = fibers_used_ < fibers_.size() ? fibers_[fibers_used_].get() : new_fiber();
          ++fibers_used_;
        }
      }
    }
    const int first = pick();
    resume(main_, first);
    if (error.empty() && live_ > 0) error = standstill();
    for (const Variable& variable : variables_) {
      if (!kOwnFibers) free(variable.memory);
    }
    variables_.clear();
  }

  void end_launch() {
    acquire(&launch_end_);
    if (!error.empty()) {
      fibers_.clear();
      free_.clear();
    }
    for (unsigned char* arena : arenas_) free(arena);
    arenas_.clear();
  }

  Fiber* new_fiber() {
    fibers_.push_back(std::make_unique<Fiber>(run_threads));
    free_.reserve(fibers_.size());
    return fibers_.back().get();
  }

  void set(int thread, uint32_t Warp::* mask) {
    Warp& warp = warps_[thread / kWarp];
    warp.*mask |= uint32_t{1} << thread % kWarp;
    if (warp.runnable()) runnable_warps_ |= uint32_t{1} << thread / kWarp;
  }

  void favour_anew(int w) {
    if (order_ == Order::random) warps_[w].favour = random_();
    if (warps_[w].runnable()) runnable_warps_ |= uint32_t{1} << w;
  }

  // The thread that goes next, or -1 where none can.
  int pick() {
    if (runnable_warps_ == 0) return -1;
    if (order_ == Order::forward) {
      const int w = std::countr_zero(runnable_warps_);
      return w * kWarp + std::countr_zero(warps_[w].runnable());
    }
    if (order_ == Order::reverse) {
      const int w = std::bit_width(runnable_warps_) - 1;
      return w * kWarp + std::bit_width(warps_[w].runnable()) - 1;
    }
    const uint64_t number = random_();
    if (number % 64 == 0) favour_anew(static_cast<int>(number / 64 % warp_count_));
    int w = -1;
    for (uint32_t rest = runnable_warps_; rest != 0; rest &= rest - 1) {
      const int other = std::countr_zero(rest);
      if (w < 0 || warps_[other].favour > warps_[w].favour) w = other;
    }
    const int turn = static_cast<int>(number >> 32) & 31;
    return w * kWarp + (std::countr_zero(std::rotr(warps_[w].runnable(), turn)) + turn) % kWarp;
  }

  // Makes `thread` the running one; its code goes on at its fiber.
  void enter(int thread) {
    current_ = thread;
    Warp& warp = warps_[thread / kWarp];
    const uint32_t others = ~(uint32_t{1} << thread % kWarp);
    warp.unstarted &= others;
    warp.ready &= others;
    if (!warp.runnable()) runnable_warps_ &= ~(uint32_t{1} << thread / kWarp);
    threadIdx.x = static_cast<unsigned>(thread % grid_.columns);
    threadIdx.y = static_cast<unsigned>(thread / grid_.columns);
  }

  // Goes on with thread `next`, or with the caller of the launch where there is none.
  void resume(Fiber& from, int next) {
    if (next < 0) {
      if (&from != &main_) Fiber::switch_to(from, main_);
      return;
    }
    const bool started = !(warps_[next / kWarp].unstarted >> next % kWarp & 1);
    enter(next);
    if (!started && !kOwnFibers) {
      if (free_.empty()) free_.push_back(new_fiber());
      current_fiber() = free_.back();
      free_.pop_back();
    }
    if (current_fiber() != &from) Fiber::switch_to(from, *current_fiber());
  }

  void go_on_later() {
    Fiber* fiber = current_fiber();
    resume(*fiber, pick());
  }

  void finish() {
    release(&launch_end_);
    set(current_, &Warp::finished);
    --live_;
  }

  // Some threads live and none can run.
  std::string standstill() {
    std::string text = "no thread can go on:";
    int finished = 0;
    int waiting = 0;
    for (int w = 0; w < warp_count_; ++w) {
      finished += std::popcount(warps_[w].finished);
      waiting += std::popcount(warps_[w].at_barrier);
    }
    if (waiting > 0)
      text += format(" %d wait in sync_threads at %s:%d;", waiting, barrier_site_.file, barrier_site_.line);
    for (int w = 0; w < warp_count_; ++w) {
      if (warps_[w].in_collective == 0) continue;
      const Collective& one = *warps_[w].waiting[std::countr_zero(warps_[w].in_collective)];
      text += format(" lanes %#x of warp %d in %s with mask %#x at %s:%d;", warps_[w].in_collective, w, one.name,
                     one.mask, one.site.file, one.site.line);
    }
    return text + format(" %d of %d have left the kernel (block %u)", finished, threads_, blockIdx.x);
  }

  Order order_ = Order::forward;
  std::mt19937_64 random_;
  Grid grid_ = {};
  void (*body_)(const void*) = nullptr;
  const void* context_ = nullptr;

  Warp warps_[kMostWarps] = {};
  uint32_t runnable_warps_ = 0;
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

  std::vector<Variable> variables_;
  std::vector<unsigned char*> arenas_;
  size_t arena_used_ = 0;
  Fiber main_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> free_;
  size_t fibers_used_ = 0;
};

Block& block() {
  static Block block;
  return block;
}

void run_threads() { block().run_threads_here(); }

}  // namespace

void set_order(Order order, uint64_t seed) { block().set_order(order, seed); }

void run(const Grid& grid, void (*body)(const void*), const void* context) { block().launch(grid, body, context); }

const char* take_error() {
  static std::string taken;
  taken = std::move(block().error);
  block().error.clear();
  return taken.empty() ? nullptr : taken.c_str();
}

void barrier(Site site) { block().wait_at_barrier(site); }
void collective(Collective& mine) { block().wait_for_lanes(mine); }
void* shared(const void* key, size_t bytes, size_t alignment) { return block().variable(key, bytes, alignment); }
void* dynamic_shared() { return block().dynamic_variable(); }
void fail(const char* message, Site site) { block().fail(message, site); }
int lane() { return block().current_lane(); }

}  // namespace wwae::emulation

// Which threads of a block can run, and whose turn it is.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "scheduler.h"

namespace wwae::emulation {

constexpr int kLanes = 32;  // of a warp
constexpr int kMostWarps = 32;

class Turns {
 public:
  void set_order(Order order, uint64_t seed) {
    order_ = order;
    random_.seed(seed);
  }

  std::vector<int64_t> of_blocks(int64_t count) {
    std::vector<int64_t> numbers(count);
    std::iota(numbers.begin(), numbers.end(), 0);
    if (order_ == Order::reverse) std::reverse(numbers.begin(), numbers.end());
    if (order_ == Order::random) std::shuffle(numbers.begin(), numbers.end(), random_);
    return numbers;
  }

  // A block in which all of so many threads can run.
  void begin(int threads) {
    warp_count_ = (threads + kLanes - 1) / kLanes;
    warps_ = 0;
    for (int w = 0; w < warp_count_; ++w) {
      const int lanes = std::min(threads - w * kLanes, kLanes);
      make_ready(w, static_cast<uint32_t>((uint64_t{1} << lanes) - 1));
      favour_[w] = random_();
    }
  }

  void make_ready(int warp, uint32_t lanes) {
    ready_[warp] |= lanes;
    if (ready_[warp]) warps_ |= uint32_t{1} << warp;
  }

  void take(int thread) {
    const int w = thread / kLanes;
    ready_[w] &= ~(uint32_t{1} << thread % kLanes);
    if (!ready_[w]) warps_ &= ~(uint32_t{1} << w);
  }

  void favour_anew() {
    if (order_ != Order::random) return;
    for (int w = 0; w < warp_count_; ++w) favour_[w] = random_();
  }

  // A thread that can run, or -1 where none can.
  int next() {
    if (warps_ == 0) return -1;
    if (order_ == Order::forward) {
      const int w = std::countr_zero(warps_);
      return w * kLanes + std::countr_zero(ready_[w]);
    }
    if (order_ == Order::reverse) {
      const int w = std::bit_width(warps_) - 1;
      return w * kLanes + std::bit_width(ready_[w]) - 1;
    }
    // Mostly the most favoured warp, so that one may run far ahead of the others.
    const uint64_t number = random_();
    if (number % 64 == 0) favour_[number / 64 % warp_count_] = random_();
    int w = -1;
    for (uint32_t rest = warps_; rest != 0; rest &= rest - 1) {
      const int other = std::countr_zero(rest);
      if (w < 0 || favour_[other] > favour_[w]) w = other;
    }
    const int turn = static_cast<int>(number >> 32) & 31;
    return w * kLanes + (std::countr_zero(std::rotr(ready_[w], turn)) + turn) % kLanes;
  }

 private:
  Order order_ = Order::forward;
  std::mt19937_64 random_;
  uint32_t ready_[kMostWarps] = {};
  uint64_t favour_[kMostWarps] = {};
  uint32_t warps_ = 0;  // those with a thread that can run
  int warp_count_ = 0;
};

}  // namespace wwae::emulation

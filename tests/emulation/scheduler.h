// Runs the blocks of a launch one after another, and the threads of a block in turns: a thread runs until it waits for
// others. Which thread goes next is the order's choice, and no result may depend on it.
#pragma once

#include <cstdint>

namespace wwae::emulation {

enum class Order : int64_t {
  forward,  // the first thread that can run
  reverse,  // the last
  random,  // any lane of the warp that is most favoured for the moment, so that one warp may run far ahead
};

struct Grid {
  int64_t blocks;
  int columns;  // threads of a block: columns x rows
  int rows;
  int shared_bytes;  // of dynamic shared memory
};

void set_order(Order order, uint64_t seed);

// Calls `body(context)` once for each thread. After an error the rest of the launch, and every launch until
// `take_error`, is left out.
void run(const Grid& grid, void (*body)(const void* context), const void* context);

// What went wrong since the last call, or null. Lives until the next launch.
const char* take_error();

}  // namespace wwae::emulation

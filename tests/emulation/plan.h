// What a launcher of csrc/cuda decides, without running it: which kernel, and how many blocks of how many threads.
#pragma once

#include "scheduler.h"

namespace wwae::emulation {

// Whether launches are planned only. Then this one is noted, and the caller leaves it out.
bool only_planned(const void* kernel, const Grid& grid);

}  // namespace wwae::emulation

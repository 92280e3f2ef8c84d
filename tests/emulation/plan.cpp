#include "plan.h"

#include <dlfcn.h>

#include <deque>

#define WWAE_EXPORT extern "C" __attribute__((visibility("default")))

namespace wwae::emulation {
namespace {

struct Planned {
  const void* kernel;
  Grid grid;
};

bool planning = false;
std::deque<Planned> launches;

// Where the linker has put it, which is how `nm` names it.
int64_t address_in_library(const void* kernel) {
  Dl_info info;
  return dladdr(kernel, &info) == 0 ? 0 : static_cast<const char*>(kernel) - static_cast<const char*>(info.dli_fbase);
}

}  // namespace

bool only_planned(const void* kernel, const Grid& grid) {
  if (planning) launches.push_back({kernel, grid});
  return planning;
}

WWAE_EXPORT void emulation_plan_only(int64_t on) { planning = on != 0; }

// {kernel, blocks, threads of a block, bytes of its dynamic shared memory} of the next planned launch, which is
// forgotten; 0 when there is none.
WWAE_EXPORT int64_t emulation_planned(int64_t* launch) {
  if (launches.empty()) return 0;
  const auto [kernel, grid] = launches.front();
  launches.pop_front();
  launch[0] = address_in_library(kernel);
  launch[1] = grid.blocks;
  launch[2] = static_cast<int64_t>(grid.columns) * grid.rows;
  launch[3] = grid.shared_bytes;
  return 1;
}

}  // namespace wwae::emulation

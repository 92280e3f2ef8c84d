// What the lanes of a mask compute together, once the last of them has come.
#include "collectives.h"

#include <bit>
#include <cstdio>

namespace wwae::emulation {

void shuffle(Collective* const* lanes, const Collective& one) {
  uint64_t values[32];
  for (uint32_t rest = one.mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    const int source = lanes[lane]->argument;
    if (!(one.mask >> source & 1)) {
      char text[128];
      std::snprintf(text, sizeof(text), "%s: lane %d reads lane %d, which is not in mask %#x", one.name, lane, source,
                    one.mask);
      fail(text, one.site);
    }
    values[lane] = lanes[source]->value;
  }
  for (uint32_t rest = one.mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    lanes[lane]->value = values[lane];
  }
}

void vote(Collective* const* lanes, const Collective& one) {
  uint64_t votes = 0;
  for (uint32_t rest = one.mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    if (lanes[lane]->value != 0) votes |= uint64_t{1} << lane;
  }
  for (uint32_t rest = one.mask; rest != 0; rest &= rest - 1) lanes[std::countr_zero(rest)]->value = votes;
}

void meet(Collective* const*, const Collective&) {}

}  // namespace wwae::emulation

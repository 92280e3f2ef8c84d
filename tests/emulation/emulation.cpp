// What Python asks of the emulation.
#include "emulation.h"

#include <utility>

#include "scheduler.h"

#define WWAE_EXPORT extern "C" __attribute__((visibility("default")))

namespace wwae::emulation {

namespace {
int64_t failed_assertions = 0;
}

void note_failed_assertion() { ++failed_assertions; }

WWAE_EXPORT int64_t emulation_failed_assertions() { return std::exchange(failed_assertions, 0); }
WWAE_EXPORT void emulation_set_order(int64_t order, int64_t seed) {
  set_order(static_cast<Order>(order), static_cast<uint64_t>(seed));
}
WWAE_EXPORT const char* emulation_error() { return take_error(); }

}  // namespace wwae::emulation

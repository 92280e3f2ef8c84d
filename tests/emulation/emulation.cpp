// What Python asks of the emulation.
#include "emulation.h"

#include <utility>

#define WWAE_EXPORT extern "C" __attribute__((visibility("default")))

WWAE_EXPORT int64_t emulation_failed_assertions() { return std::exchange(wwae::dev::failed_assertions, 0); }

WWAE_EXPORT void emulation_set_order(int64_t order) { wwae::dev::backwards = order == 1; }

// What threads do together: the emulation's side of barriers and shuffles.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace wwae::emulation {

// A place in the source. As a default argument it is the caller's.
struct Site {
  const char* file;
  int line;

  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

// What the lanes of `mask` do together. Each leaves one of these on its own stack and waits; when the last has come,
// `complete` works for all of them.
struct Collective {
  const char* name;
  uint32_t mask;
  Site site;
  void (*complete)(Collective* const* lanes, const Collective& one);
  uint64_t value = 0;
  int argument = 0;
  void* data = nullptr;
};

void collective(Collective& mine);
void barrier(Site site);

[[noreturn]] void fail(const char* message, Site site);

void shuffle(Collective* const* lanes, const Collective& one);
void vote(Collective* const* lanes, const Collective& one);
void meet(Collective* const* lanes, const Collective& one);

// The lane that `shuffle` reads is in `argument`.
template <typename T>
T exchange(const char* name, uint32_t mask, T value, int lane, Site site) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(uint64_t));
  Collective mine = {name, mask, site, shuffle};
  std::memcpy(&mine.value, &value, sizeof(T));
  mine.argument = lane;
  collective(mine);
  std::memcpy(&value, &mine.value, sizeof(T));
  return value;
}

int lane();

}  // namespace wwae::emulation

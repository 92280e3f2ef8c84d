// The instructions behind matrix multiplication: copies that arrive later, fragments, products.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <bit>
#include <cstdint>

#include "collectives.h"

namespace wwae::emulation {

// A copy to shared memory under way.
struct Copy {
  void* to;
  unsigned char bytes[16];
  int size;
  int group;
};

// Of one thread. Copies belong to the group that is committed next.
struct Copies {
  static constexpr int kMost = 64;
  Copy list[kMost];
  int waiting = 0;
  int groups = 0;  // committed
};

Copies& copies();
void issue(const Copy& copy, Site site);
void commit();
// Takes from the thread's copies one that has to arrive when at most `open` groups may still be under way, or null.
const Copy* arrive(int open);

// A lane's part of ldmatrix: its row of 8 elements, and its registers, one for each matrix.
struct Row {
  const void* address;
  uint16_t elements[8];
  uint32_t registers[4];
};
void distribute(Collective* const* lanes, const Collective& one);
void distribute_transposed(Collective* const* lanes, const Collective& one);

// A lane's part of mma.
struct Product {
  float a[8];
  float b[4];
  float c[4];
};
void multiply(Collective* const* lanes, const Collective& one);

template <typename scalar_t>
float number(uint32_t register_, int half) {
  const auto value = std::bit_cast<scalar_t>(static_cast<uint16_t>(register_ >> 16 * half));
  return static_cast<float>(value);
}

}  // namespace wwae::emulation

namespace wwae::dev {

// Until it arrives, the destination holds set bits.
template <int BYTES>
void cp_async(void* shared, const void* global, bool valid = true, emulation::Site site = emulation::Site::here()) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16);
  if (reinterpret_cast<uintptr_t>(shared) % BYTES != 0 || reinterpret_cast<uintptr_t>(global) % BYTES != 0) {
    emulation::fail("cp_async: an address is no multiple of the size of the copy", site);
  }
  emulation::Copy copy = {shared, {}, BYTES, 0};
  for (int i = 0; i < BYTES; ++i) {
    if (valid) copy.bytes[i] = static_cast<const unsigned char*>(global)[i];
    static_cast<unsigned char*>(shared)[i] = 0xff;
  }
  emulation::issue(copy, site);
}

inline void cp_async_commit() { emulation::commit(); }

template <int OPEN>
void cp_async_wait() {
  while (const emulation::Copy* copy = emulation::arrive(OPEN)) {
    for (int i = 0; i < copy->size; ++i) static_cast<unsigned char*>(copy->to)[i] = copy->bytes[i];
  }
}

template <int COUNT, bool TRANSPOSED = false>
void ldmatrix(uint32_t (&registers)[COUNT], const void* row, emulation::Site site = emulation::Site::here()) {
  static_assert(COUNT == 1 || COUNT == 2 || COUNT == 4);
  emulation::Row own = {row, {}, {}};
  if (emulation::lane() < 8 * COUNT) {
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
      emulation::fail("ldmatrix: the row is not aligned to 16 bytes", site);
    for (int i = 0; i < 8; ++i) own.elements[i] = static_cast<const uint16_t*>(row)[i];
  }
  emulation::Collective mine = {"ldmatrix", 0xffffffff, site,
                                TRANSPOSED ? emulation::distribute_transposed : emulation::distribute};
  mine.argument = COUNT;
  mine.data = &own;
  emulation::collective(mine);
  for (int i = 0; i < COUNT; ++i) registers[i] = own.registers[i];
}

template <typename scalar_t>
void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
         emulation::Site site = emulation::Site::here()) {
  emulation::Product own;
  for (int i = 0; i < 8; ++i) own.a[i] = emulation::number<scalar_t>(a[i / 2], i % 2);
  for (int i = 0; i < 4; ++i) own.b[i] = emulation::number<scalar_t>(b[i / 2], i % 2);
  for (int i = 0; i < 4; ++i) own.c[i] = c[i];
  emulation::Collective mine = {"mma", 0xffffffff, site, emulation::multiply};
  mine.data = &own;
  emulation::collective(mine);
  for (int i = 0; i < 4; ++i) c[i] = own.c[i];
}

}  // namespace wwae::dev

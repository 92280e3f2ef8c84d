#include "tensor_cores.h"

#include <utility>

namespace wwae::emulation {

namespace {

int64_t bank_conflicts = 0;

Row& row_of(const Collective* lane) { return *static_cast<Row*>(lane->data); }
Product& product_of(const Collective* lane) { return *static_cast<Product*>(lane->data); }

// Lane l gets of each matrix the elements (l / 4, 2 (l % 4)) and its right neighbour; transposed, of the transpose.
void fill_registers(Collective* const* lanes, int matrices, bool transposed) {
  for (int matrix = 0; matrix < matrices; ++matrix) {
    uint32_t groups = 0;  // of four banks, 16 bytes each
    for (int row = 0; row < 8; ++row) {
      const auto address = reinterpret_cast<uintptr_t>(row_of(lanes[8 * matrix + row]).address);
      const uint32_t group = uint32_t{1} << address / 16 % 8;
      if (groups & group) ++bank_conflicts;
      groups |= group;
    }
    for (int lane = 0; lane < 32; ++lane) {
      uint32_t both = 0;
      for (int half = 0; half < 2; ++half) {
        const int first = lane / 4;
        const int second = 2 * (lane % 4) + half;
        const int row = transposed ? second : first;
        const int column = transposed ? first : second;
        both |= uint32_t{row_of(lanes[8 * matrix + row]).elements[column]} << 16 * half;
      }
      row_of(lanes[lane]).registers[matrix] = both;
    }
  }
}

}  // namespace

void issue(const Copy& copy, Site site) {
  Copies& own = copies();
  if (own.waiting == Copies::kMost) fail("cp_async: more copies under way than the emulation keeps", site);
  own.list[own.waiting] = copy;
  own.list[own.waiting++].group = own.groups;
}

void commit() { ++copies().groups; }

const Copy* arrive(int open) {
  Copies& own = copies();
  for (int i = 0; i < own.waiting; ++i) {
    if (own.list[i].group >= own.groups - open) continue;
    std::swap(own.list[i], own.list[--own.waiting]);
    return &own.list[own.waiting];
  }
  return nullptr;
}

void distribute(Collective* const* lanes, const Collective& one) { fill_registers(lanes, one.argument, false); }
void distribute_transposed(Collective* const* lanes, const Collective& one) {
  fill_registers(lanes, one.argument, true);
}

// With g = lane / 4, t = 2 (lane % 4) and half h, a lane holds in element 2 i + h of
//   a  row g + 8 (i % 2), column t + h + 8 (i / 2)
//   b  row t + h + 8 i, column g
//   c  row g + 8 i, column t + h
void multiply(Collective* const* lanes, const Collective&) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4;
    const int t = 2 * (lane % 4);
    const Product& own = product_of(lanes[lane]);
    for (int i = 0; i < 4; ++i) {
      for (int h = 0; h < 2; ++h) a[g + 8 * (i % 2)][t + h + 8 * (i / 2)] = own.a[2 * i + h];
    }
    for (int i = 0; i < 2; ++i) {
      for (int h = 0; h < 2; ++h) b[t + h + 8 * i][g] = own.b[2 * i + h];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2);
      const int column = 2 * (lane % 4) + i % 2;
      float& sum = product_of(lanes[lane]).c[i];
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
    }
  }
}

extern "C" __attribute__((visibility("default"))) int64_t emulation_bank_conflicts() {
  return std::exchange(bank_conflicts, 0);
}

}  // namespace wwae::emulation

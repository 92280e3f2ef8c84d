// Parts of an unpooled map, made in shared memory from pooled values and switches: 2.5 bytes for each window in place
// of the bytes of its pixels. Where windows overlap, the last one in raster order that points at a pixel wins, as in
// switch_unpool2d; an offset that names no real tap claims nothing.
#pragma once

#include "cuda/implicit_gemm.cuh"

namespace wwae {

// A pooled map as switch_unpool2d takes it. Kinds of windows:
//   pairs    2 x 2 / 2, and whole vectors of channels
//   any      any windows, whole vectors
//   ragged   any windows, channels one by one
enum class Unpooling : int { pairs, any, ragged };

template <Unpooling KIND>
struct UnpooledMap {
  static constexpr Unpooling kKind = KIND;
  const Word* x;  // [N, OH, OW, C]
  const uint8_t* offsets;  // [N, OH, OW, C]
  Geometry32 geometry;
  int32_t channels;

  // Eight channels, two in each number, the first one lower.
  using Values = Vector<uint32_t, kLanes16 / 2>;

  // Eight channels of a pixel: what was read for them, and later, so that nothing waits for it before, what they are.
  struct Asked {
    std::conditional_t<KIND == Unpooling::pairs, Values, Words> values = {};
    Vector<uint32_t, 2> offsets = {};  // pairs: four in each, the first one lowest
    int32_t tap = -1;  // pairs: values whose offset it is are the pixel's, the others 0; -1: there is no window

    // A byte of `same` is 1 where the offset is the tap; two of them become masks of two values.
    __device__ auto pixel() const {
      auto result = values;
      if constexpr (KIND == Unpooling::pairs) {
        constexpr uint32_t low = 0x7f7f7f7f;
#pragma unroll
        for (int i = 0; i < kLanes16 / 2; ++i) {
          const uint32_t difference = offsets.lane[i / 2] ^ static_cast<uint32_t>(tap) * 0x01010101u;
          const uint32_t same = ~(((difference & low) + low) | difference | low) >> (7 + 16 * (i % 2));
          result.lane[i] &= ((same & 1) | (same & 0x100) << 8) * 0xffffu;
        }
      }
      return result;
    }
  };

  // Channels `channel` .. + 8 of pixel (h, w), 0 outside the map and beyond the last channel.
  __device__ Asked at(int32_t image, int32_t h, int32_t w, int32_t channel) const {
    Asked asked;
    const Geometry32 g = specialise<KIND == Unpooling::pairs ? 2 : 0>(geometry);
    if (!g.h.contains(h) || !g.w.contains(w) || channel >= channels) return asked;
    const Range<int32_t> rows = g.h.windows_over(h);
    const Range<int32_t> columns = g.w.windows_over(w);
    const auto address = [&](int32_t oh, int32_t ow) {
      return static_cast<int64_t>((image * g.h.output + oh) * g.w.output + ow) * channels + channel;
    };
    if constexpr (KIND == Unpooling::pairs) {  // one window at most
      if (rows.begin >= rows.end || columns.begin >= columns.end) return asked;
      asked.values = load<kLanes16 / 2>(reinterpret_cast<const uint32_t*>(x + address(rows.begin, columns.begin)));
      asked.offsets = load<2>(reinterpret_cast<const uint32_t*>(offsets + address(rows.begin, columns.begin)));
      asked.tap = g.h.tap_at(rows.begin, h) * 2 + g.w.tap_at(columns.begin, w);
    } else {
      for (int32_t oh = rows.begin; oh < rows.end; ++oh) {
        const int32_t r = g.h.tap_at(oh, h);
        if (r < 0) continue;
        for (int32_t ow = columns.begin; ow < columns.end; ++ow) {
          const int32_t c = g.w.tap_at(ow, w);
          if (c >= 0) take(asked.values, address(oh, ow), channel, r * g.w.kernel + c);
        }
      }
    }
    return asked;
  }

 private:
  // The values of the window at `address` that stand at `tap`.
  __device__ void take(Words& pixel, int64_t address, int32_t channel, int32_t tap) const {
    if constexpr (KIND == Unpooling::any) {
      const auto recorded = load<kLanes16>(offsets + address);
      const Words values = load<kLanes16>(x + address);
#pragma unroll
      for (int i = 0; i < kLanes16; ++i) pixel.lane[i] = recorded.lane[i] == tap ? values.lane[i] : pixel.lane[i];
    } else {
#pragma unroll
      for (int i = 0; i < kLanes16; ++i) {
        if (channel + i < channels && offsets[address + i] == tap) pixel.lane[i] = x[address + i];
      }
    }
  }
};

// Calls `body(map)` with the UnpooledMap that fits; `whole`: what else is read comes in whole vectors too.
template <typename Body>
void with_unpooled_map(const void* x, const uint8_t* offsets, const Geometry32& geometry, int32_t channels, bool whole,
                       const Body& body) {
  const auto* words = static_cast<const Word*>(x);
  if (!whole || channels % kLanes16 != 0 || !aligned(x, kVectorBytes) || !aligned(offsets, kLanes16)) {
    body(UnpooledMap<Unpooling::ragged>{words, offsets, geometry, channels});
  } else if (matches(geometry, 2)) {
    body(UnpooledMap<Unpooling::pairs>{words, offsets, geometry, channels});
  } else {
    body(UnpooledMap<Unpooling::any>{words, offsets, geometry, channels});
  }
}

}  // namespace wwae

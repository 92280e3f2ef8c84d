// max_gather2d: the transpose of max_unpool2d. Every window (N, C, OH, OW) reads the map x (N, C, H, W) at its int64
// index h * W + w; 0 where a later window in raster order has the same index.
//
// Work item = the channels of an image that one thread takes, some at a time: first every window writes its number to
// the pixel it points at, so that the last one stays; then the windows whose number stayed read their pixel. Only
// pixels that were written are read, so that scratch map needs no clearing.
//
// Bytes moved per window, s = element size, A = pixels per window: read A * s + 8, write s; the scratch map stays in
// the cache.
#include <algorithm>
#include <limits>
#include <vector>

#include "common/checks.h"
#include "common/dtype.h"
#include "cpu/lanes.h"
#include "cpu/planes.h"

namespace wwae {
namespace {

// Bytes of the scratch map that a thread fills at a time, if one cache line of channels allows it.
constexpr int64_t kScratchBytes = 512 * 1024;
constexpr int64_t kLine = 16;  // channels of a scratch map per cache line: 64 bytes of int32

template <typename element>
struct MaxGather {
  const Planes& planes;
  BadIndex& bad;
  const element* x;  // (images, pixels, channels)
  const int64_t* indices;  // (images, windows, channels)
  element* values;  // (images, windows, channels)

  void channels_of_image(int64_t image, Range<int64_t> channels) const {
    const int64_t fitting = kScratchBytes / (4 * std::max<int64_t>(1, planes.pixels));
    const int64_t width = std::min(std::max(kLine, fitting / kLine * kLine), channels.end - channels.begin);
    std::vector<int32_t> last(planes.pixels * width);  // (pixels, width)
    for (int64_t c = channels.begin; c < channels.end; c += width) {
      const Range<int64_t> part = {c, std::min(c + width, channels.end)};
      write_numbers(image, part, width, last.data());
      read_winners(image, part, width, last.data());
    }
  }

  bool inside(int64_t index) const { return static_cast<uint64_t>(index) < static_cast<uint64_t>(planes.pixels); }

  void write_numbers(int64_t image, Range<int64_t> channels, int64_t width, int32_t* last) const {
    for (int64_t window = 0; window < planes.windows; ++window) {
      const int64_t* index = indices + (image * planes.windows + window) * planes.channels;
      for (int64_t c = channels.begin; c < channels.end; ++c) {
        if (inside(index[c])) {
          last[index[c] * width + c - channels.begin] = static_cast<int32_t>(window);
        } else {
          bad.note(image, c, window);
        }
      }
    }
  }

  void read_winners(int64_t image, Range<int64_t> channels, int64_t width, const int32_t* last) const {
    const element* map = x + image * planes.pixels * planes.channels;
    for (int64_t window = 0; window < planes.windows; ++window) {
      const int64_t first = (image * planes.windows + window) * planes.channels;
      for (int64_t c = channels.begin; c < channels.end; ++c) {
        const int64_t index = indices[first + c];
        const bool wins = inside(index) && last[index * width + c - channels.begin] == window;
        values[first + c] = wins ? map[index * planes.channels + c] : element{0};
      }
    }
  }
};

Tensor max_gather2d_cpu(const Tensor& x, const Tensor& indices) {
  constexpr const char* op = "max_gather2d";
  check_4d(op, "x", x);
  check_4d(op, "indices", indices);
  check_shape(op, "indices", indices, {x.size(0), x.size(1), indices.size(2), indices.size(3)});
  check_dtype(op, "indices", indices, ScalarType::Long);
  check_same_device(op, "indices", indices, x);
  check(indices.size(2) * indices.size(3) <= std::numeric_limits<int32_t>::max(), op,
        ": expected indices with at most 2^31 - 1 windows per plane, got shape ", format(sizes_of(indices)));
  const MemoryFormat layout = memory_format_of(x);
  Tensor values = allocate(sizes_of(indices), x.scalar_type(), layout, x);
  dispatch_floating(op, x, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    if (values.numel() == 0) return;
    const Tensor map = with_layout(x, layout);
    const Tensor targets = with_layout(indices, layout);
    const auto* index = static_cast<const int64_t*>(targets.const_data_ptr());
    const Planes planes(indices, x.size(2) * x.size(3), layout);
    BadIndex bad(planes);
    const MaxGather<element_t<scalar_t>> gather{planes, bad, elements<scalar_t>(map), index,
                                                mutable_elements<scalar_t>(values)};
    planes.for_each([&](int64_t image, Range<int64_t> channels) { gather.channels_of_image(image, channels); });
    bad.raise(op, index, x.size(2), x.size(3));
  });
  return values;
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) { m.impl("max_gather2d", TORCH_BOX(&max_gather2d_cpu)); }

}  // namespace
}  // namespace wwae

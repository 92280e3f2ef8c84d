// max_gather2d: the transpose of max_unpool2d. Every window (N, C, OH, OW) reads the map x (N, C, H, W) at its int64
// index h * W + w; 0 where a later window in raster order has the same index.
//
// Work item = the channels of an image that one thread takes, some at a time. First every window marks its pixel in a
// scratch map; if none was marked twice, as with a pool whose windows do not overlap, all windows read their pixels.
// Else every window writes its number to its pixel, so that the last one stays, and those whose number stayed read.
// Only pixels that were written are looked at, so the map of numbers needs no clearing.
//
// Bytes moved per window, s = element size, A = pixels per window: read A * s + 8, write s; the scratch maps stay in
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

// Bytes of the scratch map of marks that a thread fills at a time, if one cache line of channels allows it.
constexpr int64_t kScratchBytes = 256 * 1024;
constexpr int64_t kLine = 64;  // channels of the map of marks per cache line

template <typename element>
struct MaxGather {
  const Planes& planes;
  BadIndex& bad;
  const element* x;  // (images, pixels, channels)
  const int64_t* indices;  // (images, windows, channels)
  element* values;  // (images, windows, channels)

  void channels_of_image(int64_t image, Range<int64_t> channels) const {
    const Range<int64_t> windows = {0, planes.windows};
    const Range<int64_t> reach = planes.reach(indices, image, channels, windows);
    if (reach.begin < 0 || reach.end > planes.pixels) return bad.note(indices, image, channels, windows);
    const int64_t fitting = kScratchBytes / std::max<int64_t>(1, planes.pixels) / kLine * kLine;
    const int64_t width = std::min(std::max(kLine, fitting), channels.end - channels.begin);
    std::vector<uint8_t> marks(planes.pixels * width);  // (pixels, width)
    std::vector<int32_t> last;  // (pixels, width)
    for (int64_t c = channels.begin; c < channels.end; c += width) {
      const Range<int64_t> part = {c, std::min(c + width, channels.end)};
      if (all_differ(image, part, width, marks)) {
        read(image, part);
      } else {
        last.resize(marks.size());
        read_last(image, part, width, last);
      }
    }
  }

  bool all_differ(int64_t image, Range<int64_t> channels, int64_t width, std::vector<uint8_t>& marks) const {
    std::fill(marks.begin(), marks.end(), uint8_t{0});
    uint8_t* mark = marks.data() - channels.begin;
    uint8_t twice = 0;
    for_each(image, channels, [&](int64_t at, int64_t, int64_t c) {
      uint8_t& found = mark[indices[at] * width + c];
      twice |= found;
      found = 1;
    });
    return twice == 0;
  }

  void read(int64_t image, Range<int64_t> channels) const {
    const element* map = x + image * planes.pixels * planes.channels;
    for_each(image, channels,
             [&](int64_t at, int64_t, int64_t c) { values[at] = map[indices[at] * planes.channels + c]; });
  }

  void read_last(int64_t image, Range<int64_t> channels, int64_t width, std::vector<int32_t>& last) const {
    const element* map = x + image * planes.pixels * planes.channels;
    int32_t* number = last.data() - channels.begin;
    for_each(image, channels, [&](int64_t at, int64_t window, int64_t c) {
      number[indices[at] * width + c] = static_cast<int32_t>(window);
    });
    for_each(image, channels, [&](int64_t at, int64_t window, int64_t c) {
      const bool wins = number[indices[at] * width + c] == window;
      values[at] = wins ? map[indices[at] * planes.channels + c] : element{0};
    });
  }

  // Calls `body(flat position, window, channel)` for the windows of an image in raster order.
  template <typename Body>
  void for_each(int64_t image, Range<int64_t> channels, const Body& body) const {
    const int64_t first = image * planes.windows * planes.channels;
    if (planes.channels == 1) {  // a plain loop, without one over channels in it
      for (int64_t window = 0; window < planes.windows; ++window) body(first + window, window, int64_t{0});
      return;
    }
    for (int64_t window = 0; window < planes.windows; ++window) {
      const int64_t at = first + window * planes.channels;
      for (int64_t c = channels.begin; c < channels.end; ++c) body(at + c, window, c);
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

// max_unpool2d: a map (N, C, H, W) with every x (N, C, OH, OW) at its int64 index h * W + w and 0 elsewhere; the last
// window in raster order wins.
//
// Work item = the channels of an image that one thread takes (one channel when contiguous), or several contiguous
// planes of few windows, which are cleared and looked at together. Indices of a pool rise with the window, so a larger
// map is cleared just ahead of the writes: each group of windows first looks up its largest index, clears up to there,
// and then writes into memory that is still in the cache.
//
// Bytes moved per pixel, s = element size, A = pixels per window: write s, read (s + 8) / A.
#include <algorithm>

#include "common/checks.h"
#include "common/dtype.h"
#include "cpu/lanes.h"
#include "cpu/planes.h"

namespace wwae {
namespace {

// Elements of a group of windows: small beside the first-level cache, which its indices pass twice.
constexpr int64_t kGroup = 1024;
// Pixels that are cleared together: they stay in the first-level cache until they are written.
constexpr int64_t kCleared = 8 * 1024;

template <typename element>
struct MaxUnpool {
  const Planes& planes;
  BadIndex& bad;
  const element* x;  // (images, windows, channels)
  const int64_t* indices;  // (images, windows, channels)
  element* map;  // (images, pixels, channels)

  // Contiguous planes.
  void small_planes(Group group) const {
    const int64_t* index = indices + group.first * planes.windows;
    const element* value = x + group.first * planes.windows;
    element* out = map + group.first * planes.pixels;
    Range<int64_t> reach = {planes.pixels, 0};
    Planes::extend(reach, index, group.images * planes.windows);
    std::fill_n(out, group.images * planes.pixels, element{0});
    if (reach.begin < 0 || reach.end > planes.pixels) {
      for (int64_t i = 0; i < group.images; ++i) bad.note(indices, group.first + i, {0, 1}, {0, planes.windows});
      return;
    }
    for (int64_t i = 0; i < group.images; ++i) {
#pragma GCC unroll 8
      for (int64_t window = 0; window < planes.windows; ++window) out[*index++] = *value++;
      out += planes.pixels;
    }
  }

  void channels_of_image(int64_t image, Range<int64_t> channels) const {
    const int64_t group = std::max<int64_t>(1, kGroup / (channels.end - channels.begin));
    int64_t cleared = 0;
    for (int64_t window = 0; window < planes.windows; window += group) {
      const Range<int64_t> windows = {window, std::min(window + group, planes.windows)};
      const Range<int64_t> reach = planes.reach(indices, image, channels, windows);
      const int64_t needed = std::min(reach.end, planes.pixels);
      if (needed > cleared) {
        clear(image, channels, {cleared, needed});
        cleared = needed;
      }
      if (reach.begin >= 0 && reach.end <= planes.pixels) {
        write(image, channels, windows);
      } else {
        bad.note(indices, image, channels, windows);
      }
    }
    clear(image, channels, {cleared, planes.pixels});
  }

  void clear(int64_t image, Range<int64_t> channels, Range<int64_t> pixels) const {
    element* out = map + image * planes.pixels * planes.channels;
    if (channels.end - channels.begin == planes.channels) {
      std::fill(out + pixels.begin * planes.channels, out + pixels.end * planes.channels, element{0});
      return;
    }
    for (int64_t pixel = pixels.begin; pixel < pixels.end; ++pixel) {
      std::fill(out + pixel * planes.channels + channels.begin, out + pixel * planes.channels + channels.end,
                element{0});
    }
  }

  // The indices of these windows are inside the plane.
  void write(int64_t image, Range<int64_t> channels, Range<int64_t> windows) const {
    element* out = map + image * planes.pixels * planes.channels;
    const int64_t first = image * planes.windows * planes.channels;
    if (planes.channels == 1) {
#pragma GCC unroll 8
      for (int64_t i = first + windows.begin; i < first + windows.end; ++i) out[indices[i]] = x[i];
      return;
    }
    for (int64_t window = windows.begin; window < windows.end; ++window) {
      const int64_t at = first + window * planes.channels;
      for (int64_t c = channels.begin; c < channels.end; ++c) out[indices[at + c] * planes.channels + c] = x[at + c];
    }
  }
};

Tensor max_unpool2d_cpu(const Tensor& x, const Tensor& indices, const Pair& output_size) {
  constexpr const char* op = "max_unpool2d";
  check_4d(op, "x", x);
  check_shape(op, "indices", indices, x.sizes());
  check_dtype(op, "indices", indices, ScalarType::Long);
  check_same_device(op, "indices", indices, x);
  check_pair(op, "output_size", output_size, 0);
  const MemoryFormat layout = memory_format_of(x);
  Tensor map = allocate({x.size(0), x.size(1), output_size[0], output_size[1]}, x.scalar_type(), layout, x);
  dispatch_floating(op, x, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    const Tensor values = with_layout(x, layout);
    const Tensor targets = with_layout(indices, layout);
    const auto* index = static_cast<const int64_t*>(targets.const_data_ptr());
    const Planes planes(x, output_size[0] * output_size[1], layout);
    if (planes.images * planes.channels == 0) return;
    BadIndex bad(planes);
    const MaxUnpool<element_t<scalar_t>> unpool{planes, bad, elements<scalar_t>(values), index,
                                                mutable_elements<scalar_t>(map)};
    const auto scratch = [] { return 0; };
    const int64_t together =
        std::min(kGroup / std::max<int64_t>(1, planes.windows), kCleared / std::max<int64_t>(1, planes.pixels));
    if (planes.channels == 1 && together > 1) {
      for_each_group(planes.images, together, planes.pixels, scratch,
                     [&](int, Group group) { unpool.small_planes(group); });
    } else {
      planes.for_each(scratch,
                      [&](int, int64_t image, Range<int64_t> channels) { unpool.channels_of_image(image, channels); });
    }
    bad.raise(op, index, output_size[0], output_size[1]);
  });
  return map;
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) { m.impl("max_unpool2d", TORCH_BOX(&max_unpool2d_cpu)); }

}  // namespace
}  // namespace wwae

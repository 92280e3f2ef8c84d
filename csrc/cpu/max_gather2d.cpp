// max_gather2d: the transpose of max_unpool2d. Every window (N, C, OH, OW) reads the map x (N, C, H, W) at its int64
// index h * W + w; 0 where a later window in raster order has the same index.
//
// Windows that can only meet their neighbours, which a look at the indices tells, are compared with those
// (neighbours.h); work item = an image, or several small ones of one channel. Otherwise pixels are marked
// (last_claim.h); work item = the channels of an image that one thread takes.
//
// Bytes moved per window, s = element size, A = pixels per window: read A * s + 8, write s; what else is
// touched stays in the cache.
#include <optional>

#include "common/checks.h"
#include "common/dtype.h"
#include "cpu/keep.h"
#include "cpu/lanes.h"
#include "cpu/last_claim.h"
#include "cpu/neighbours.h"
#include "cpu/planes.h"

namespace wwae {
namespace {

template <typename element>
struct MaxGather {
  const Planes& planes;
  BadIndex& bad;
  const element* x;  // (images, pixels, channels)
  const int64_t* indices;  // (images, windows, channels)
  element* values;  // (images, windows, channels)

  // Returns false where windows may meet that are not neighbours.
  bool winners(Neighbours& neighbours, Group group) const {
    const int64_t channels = planes.channels;
    const element* map = x + group.first * planes.pixels * channels;
    element* out = values + group.first * planes.windows * channels;
    const int64_t* index = indices + group.first * planes.windows * channels;
    const auto read = [=](int64_t first, int64_t n, const int32_t* targets) {
      if (channels == 1) {  // a plain loop, without one over channels in it
#pragma GCC unroll 8
        for (int64_t i = 0; i < n; ++i) out[first + i] = map[targets[i]];
        return;
      }
      for (int64_t i = 0; i < n; i += channels) {
        for (int64_t c = 0; c < channels; ++c) out[first + i + c] = map[targets[i + c] * channels + c];
      }
    };
    const auto drop_losers = [=](int64_t first, int64_t n, const int32_t* keeps) { drop(out + first, keeps, n); };
    return neighbours.for_each_winner(group.images, index, read, drop_losers);
  }

  void by_marks(Marks& marks, int64_t image, Range<int64_t> channels) const {
    const int64_t stride = planes.channels;
    const int64_t* index = indices + image * planes.windows * stride;
    const auto pixel = [index, stride, pixels = static_cast<uint64_t>(planes.pixels)](int64_t window, int64_t c) {
      const int64_t at = index[window * stride + c];
      return static_cast<uint64_t>(at) < pixels ? at : int64_t{-1};
    };
    const bool all_inside = gather_last(marks, planes.windows, channels, stride, x + image * planes.pixels * stride,
                                        values + image * planes.windows * stride, pixel);
    if (!all_inside) bad.note(indices, image, channels, {0, planes.windows});
  }
};

Tensor max_gather2d_cpu(const Tensor& x, const Tensor& indices) {
  constexpr const char* op = "max_gather2d";
  check_4d(op, "x", x);
  check_4d(op, "indices", indices);
  check_shape(op, "indices", indices, {x.size(0), x.size(1), indices.size(2), indices.size(3)});
  check_dtype(op, "indices", indices, ScalarType::Long);
  check_same_device(op, "indices", indices, x);
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
    struct Scratch {
      std::optional<Neighbours> neighbours;
      std::optional<Marks> marks;
    };
    const int64_t height = indices.size(2), width = indices.size(3);
    const auto scratch = [&]() -> Scratch {
      if (!Neighbours::fit(height, x.size(2), x.size(3))) return {};
      return {Neighbours(height, width, planes.channels, x.size(2), x.size(3)), {}};
    };
    const auto read = [&](Scratch& own, Group group, Range<int64_t> channels) {
      const bool whole = channels.end - channels.begin == planes.channels;
      if (whole && own.neighbours && gather.winners(*own.neighbours, group)) return;
      if (!own.marks) own.marks.emplace(planes.pixels, planes.channels);
      for (int64_t image = group.first; image < group.first + group.images; ++image) {
        gather.by_marks(*own.marks, image, channels);
      }
    };
    if (planes.channels == 1) {
      const int64_t together = Neighbours::together(height, width, 1, planes.pixels);
      for_each_group(planes.images, together, planes.pixels, scratch,
                     [&](Scratch& own, Group group) { read(own, group, {0, 1}); });
    } else {
      planes.for_each(
          scratch, [&](Scratch& own, int64_t image, Range<int64_t> channels) { read(own, Group{image, 1}, channels); });
    }
    bad.raise(op, index, x.size(2), x.size(3));
  });
  return values;
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) { m.impl("max_gather2d", TORCH_BOX(&max_gather2d_cpu)); }

}  // namespace
}  // namespace wwae

// switch_gather2d: the transpose of switch_unpool2d. Every window (N, C, OH, OW) reads the map x (N, C, H, W) at its
// switch; 0 where the switch names no real tap.
//
// Where windows overlap: "sum" reads all; "last" gives 0 to a window whose pixel a later one claims; "mean" divides by
// the number of windows that claim the pixel (in float32 for bfloat16 and float16).
//
// A contiguous tensor is N * C images of one channel, a channels-last one N images of C channels; work item = a row of
// windows of one image (gather_rows.h), or several small contiguous planes (small_planes.h). "last" first takes the
// switches of the losers away (rivals.h), or marks pixels (last_claim.h) where too many windows meet; "mean" counts
// them, work item = the channels of an image.
//
// Bytes moved per window, s = element size, o = offset size: read KH * KW * s + o when windows do not overlap (every
// cache line of the map is touched), write s.
#include <algorithm>
#include <optional>
#include <vector>

#include "common/checks.h"
#include "common/dtype.h"
#include "cpu/accumulate.h"
#include "cpu/gather_rows.h"
#include "cpu/last_claim.h"
#include "cpu/planes.h"
#include "cpu/rivals.h"
#include "cpu/small_planes.h"
#include "cpu/tap_table.h"
#include "cpu/tasks.h"

namespace wwae {
namespace {

// Calls `body(image, rows)` for the rows [begin, end) of windows of all images, at most `most` of an image at a time.
template <typename Body>
void for_bands(int64_t begin, int64_t end, int64_t height, int64_t most, const Body& body) {
  while (begin < end) {
    const int64_t image = begin / height, row = begin % height;
    const int64_t last = std::min({row + most, height, row + end - begin});
    body(image, Range<int64_t>{row, last});
    begin += last - row;
  }
}

// Contiguous planes; every window reads, or of each pixel's the last one.
template <typename element>
void gather_small(const Geometry& g, const Planes& planes, const Rivals* rivals, const element* x,
                  const uint8_t* offsets, element* values) {
  const SmallPlanes small(g);
  const auto scratch = [&] { return rivals ? std::optional<SmallWinners>({*rivals, small}) : std::nullopt; };
  for_each_group(
      planes.images, small.together(), planes.pixels, scratch, [&](std::optional<SmallWinners>& winners, Group group) {
        const uint8_t* all = offsets + group.first * planes.windows;
        small.gather(group.images, x + group.first * planes.pixels, winners ? winners->find(group.images, all) : all,
                     values + group.first * planes.windows);
      });
}

// Every window reads. offsets: (images, OH, OW, channels).
template <typename scalar_t, typename offset_t>
void gather_all(const Geometry& g, const Planes& planes, const element_t<scalar_t>* x, const offset_t* offsets,
                element_t<scalar_t>* values) {
  if constexpr (std::is_same_v<offset_t, uint8_t>) {
    if (planes.channels == 1 && SmallPlanes::fit(g)) return gather_small(g, planes, nullptr, x, offsets, values);
  }
  const RowGather<scalar_t, offset_t> gather(g, planes, x, values);
  const int64_t row_size = g.w.output * planes.channels;
  parallel_for(0, planes.images * g.h.output, grain_size(gather.row_cost()), [&](int64_t begin, int64_t end) {
    for_bands(begin, end, g.h.output, g.h.output, [&](int64_t image, Range<int64_t> rows) {
      gather.rows(image, rows, offsets + (image * g.h.output + rows.begin) * row_size, row_size);
    });
  });
}

// The windows that no later one takes the pixel of read, the others give 0. offsets: (images, OH, OW, channels).
template <typename scalar_t>
void gather_winners(const Geometry& g, const Planes& planes, const Rivals& rivals, const element_t<scalar_t>* x,
                    const uint8_t* offsets, element_t<scalar_t>* values) {
  if (planes.channels == 1 && SmallPlanes::fit(g)) return gather_small(g, planes, &rivals, x, offsets, values);
  const RowGather<scalar_t, uint8_t> gather(g, planes, x, values);
  const int64_t image_size = planes.windows * planes.channels;
  parallel_for(0, planes.images * g.h.output, grain_size(gather.row_cost()), [&](int64_t begin, int64_t end) {
    Winners winners(rivals, g.h.output, g.w.output, planes.channels);
    for_bands(begin, end, g.h.output, winners.band(), [&](int64_t image, Range<int64_t> rows) {
      gather.rows(image, rows, winners.find(offsets + image * image_size, rows), winners.pitch());
    });
  });
}

// Where the switches of one image point: pixel numbers h * W + w.
template <typename offset_t>
class Pointers {
 public:
  explicit Pointers(const Geometry& g) : g_(g), taps_(g, g.w.input, 1) {
    const Range<int64_t> whole_h = g.h.whole_windows();
    const Range<int64_t> whole_w = g.w.whole_windows();
    for (int64_t oh = 0; oh < g.h.output; ++oh) {
      for (int64_t ow = 0; ow < g.w.output; ++ow) {
        const bool whole = oh >= whole_h.begin && oh < whole_h.end && ow >= whole_w.begin && ow < whole_w.end;
        windows_.push_back({g.h.start(oh), g.w.start(ow), g.h.start(oh) * g.w.input + g.w.start(ow), whole});
      }
    }
  }

  // -1 for an offset that names no real tap.
  int64_t operator()(int64_t window, offset_t offset) const {
    if (!taps_.contains(offset)) return -1;
    const Window& from = windows_[window];
    if (!from.whole) {
      const Tap& tap = taps_[offset];
      if (!g_.h.contains(from.top + tap.row) || !g_.w.contains(from.left + tap.column)) return -1;
    }
    return from.corner + taps_.step(offset);
  }

 private:
  struct Window {
    int64_t top;
    int64_t left;
    int64_t corner;  // pixel number of the first tap
    bool whole;  // all taps are real
  };

  Geometry g_;
  TapTable taps_;
  std::vector<Window> windows_;
};

// Overlapping windows. x: (images, pixels, channels); offsets and values: (images, windows, channels).
template <typename scalar_t, typename offset_t>
void gather_last(const Geometry& g, const Planes& planes, const element_t<scalar_t>* x, const offset_t* offsets,
                 element_t<scalar_t>* values) {
  if constexpr (std::is_same_v<offset_t, uint8_t>) {
    if (const Rivals rivals(g); rivals.few()) return gather_winners<scalar_t>(g, planes, rivals, x, offsets, values);
  }
  const Pointers<offset_t> pointers(g);
  const int64_t stride = planes.channels;
  planes.for_each(
      [&] { return Marks(planes.pixels, stride); },
      [&](Marks& marks, int64_t image, Range<int64_t> channels) {
        const int64_t first = image * planes.windows * stride;
        gather_last(marks, planes.windows, channels, stride, x + image * planes.pixels * stride, values + first,
                    [&](int64_t window, int64_t c) { return pointers(window, offsets[first + window * stride + c]); });
      });
}

template <typename scalar_t, typename offset_t>
void gather_mean(const Geometry& g, const Planes& planes, const element_t<scalar_t>* x, const offset_t* offsets,
                 element_t<scalar_t>* values) {
  const Pointers<offset_t> pointers(g);
  const int64_t stride = planes.channels;
  const auto scratch = [] { return std::vector<int32_t>(); };
  planes.for_each(scratch, [&](std::vector<int32_t>& counts, int64_t image, Range<int64_t> channels) {
    const int64_t width = channels.end - channels.begin;
    counts.assign(planes.pixels * width, 0);
    const auto for_each_window = [&](const auto& body) {
      for (int64_t window = 0; window < planes.windows; ++window) {
        for (int64_t c = channels.begin; c < channels.end; ++c) {
          const int64_t at = (image * planes.windows + window) * stride + c;
          const int64_t pixel = pointers(window, offsets[at]);
          body(at, pixel, pixel * width + c - channels.begin, (image * planes.pixels + pixel) * stride + c);
        }
      }
    };
    for_each_window([&](int64_t, int64_t pixel, int64_t count, int64_t) {
      if (pixel >= 0) ++counts[count];
    });
    for_each_window([&](int64_t at, int64_t pixel, int64_t count, int64_t source) {
      if (pixel < 0) {
        values[at] = element_t<scalar_t>{0};
      } else {
        values[at] = narrow<scalar_t>(widen<scalar_t>(x[source]) / static_cast<accumulate_t<scalar_t>>(counts[count]));
      }
    });
  });
}

Tensor switch_gather2d_cpu(const Tensor& x, const Tensor& offsets, const Pair& kernel_size, const Pair& stride,
                           const Pair& padding, const Pair& dilation, const std::string& overlap) {
  constexpr const char* op = "switch_gather2d";
  check_4d(op, "x", x);
  check_4d(op, "offsets", offsets);
  check_shape(op, "offsets", offsets, {x.size(0), x.size(1), offsets.size(2), offsets.size(3)});
  check_same_device(op, "offsets", offsets, x);
  const Geometry g = unpool_geometry(op, offsets, kernel_size, stride, padding, dilation, {x.size(2), x.size(3)});
  const ScalarType offsets_type = offset_dtype(g.taps());
  check_dtype(op, "offsets", offsets, offsets_type);
  const Overlap asked = parse_overlap(op, overlap);
  const Overlap mode = g.disjoint() ? Overlap::sum : asked;  // disjoint windows never meet: the modes agree
  const MemoryFormat layout = memory_format_of(x);
  Tensor values = allocate(sizes_of(offsets), x.scalar_type(), layout, x);
  dispatch_floating(op, x, [&](auto scalar) {
    dispatch_offset(op, offsets_type, [&](auto offset) {
      using scalar_t = typename decltype(scalar)::type;
      using offset_t = typename decltype(offset)::type;
      if (values.numel() == 0) return;
      const Tensor map = with_layout(x, layout);
      const Tensor switches = with_layout(offsets, layout);
      const auto* input = elements<scalar_t>(map);
      const auto* offset_data = static_cast<const offset_t*>(switches.const_data_ptr());
      auto* output = mutable_elements<scalar_t>(values);
      const Planes planes(offsets, g.h.input * g.w.input, layout);
      const auto run = mode == Overlap::sum    ? gather_all<scalar_t, offset_t>
                       : mode == Overlap::last ? gather_last<scalar_t, offset_t>
                                               : gather_mean<scalar_t, offset_t>;
      run(g, planes, input, offset_data, output);
    });
  });
  return values;
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) { m.impl("switch_gather2d", TORCH_BOX(&switch_gather2d_cpu)); }

}  // namespace
}  // namespace wwae

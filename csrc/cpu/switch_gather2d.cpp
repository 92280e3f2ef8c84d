// switch_gather2d: the transpose of switch_unpool2d. Every window (N, C, OH, OW) reads the map x (N, C, H, W) at its
// switch; 0 where the switch names no real tap.
//
// Where windows overlap: "sum" reads all; "last" gives 0 to a window whose pixel a later one claims; "mean" divides by
// the number of windows that claim the pixel (in float32 for bfloat16 and float16).
//
// A contiguous tensor is N * C images of one channel, a channels-last one N images of C channels. "sum": work item = a
// row of windows of one image; small windows read all taps and select (lanes = windows of a contiguous row, or
// channels), others read the one tap they need. "last" (last_claim.h) and "mean", where windows meet: work item = the
// channels of an image that one thread takes.
//
// Bytes moved per window, s = element size, o = offset size: read KH * KW * s + o when windows do not overlap (every
// cache line of the map is touched), write s.
#include <algorithm>
#include <vector>

#include "common/checks.h"
#include "common/dtype.h"
#include "cpu/accumulate.h"
#include "cpu/lanes.h"
#include "cpu/last_claim.h"
#include "cpu/planes.h"
#include "cpu/tap_table.h"
#include "cpu/tasks.h"

namespace wwae {
namespace {

// Windows up to this size select among vector loads of all their taps: cheaper than one scalar load per output.
constexpr int64_t kSelectTaps = 16;

template <typename scalar_t, typename offset_t>
struct SumGather {
  using element = element_t<scalar_t>;

  const Geometry& g;
  int64_t images;
  int64_t channels;
  const element* x;  // (images, H, W, channels)
  const offset_t* offsets;  // (images, OH, OW, channels)
  element* values;  // (images, OH, OW, channels)

  int64_t map_size() const { return g.h.input * g.w.input * channels; }
  int64_t row_size() const { return g.w.output * channels; }

  void run() const {
    const TapTable taps(g, g.w.input * channels, channels);
    const Range<int64_t> whole = g.w.whole_windows();
    const bool all_real = all_whole(g.h) && all_whole(g.w);
    const int64_t grain = grain_size(row_size() * std::min(g.taps(), kSelectTaps));
    parallel_for(0, images * g.h.output, grain, [&](int64_t begin, int64_t end) {
      for_each_item(begin, end, g.h.output, [&](int64_t image, int64_t oh) {
        if (all_real && selects_windows()) {
          select_windows(image, oh);
        } else if (all_real && selects_channels()) {
          for (int64_t ow = 0; ow < g.w.output; ++ow) select_channels(image, oh, ow);
        } else {
          read_row(image, oh, taps, whole);
        }
      });
    });
  }

  // True when every tap of every window is real.
  static bool all_whole(const Axis& axis) {
    return axis.padding == 0 && axis.position(axis.output - 1, axis.kernel - 1) < axis.input;
  }

  bool selects_windows() const {
    return channels == 1 && g.h.kernel == 2 && g.w.kernel == 2 && g.w.stride == 2 && g.w.dilation == 1;
  }

  bool selects_channels() const { return channels >= 4 && g.taps() <= kSelectTaps; }

  // A row of 2x2 windows, stride 2 across: lanes = windows.
  void select_windows(int64_t image, int64_t oh) const {
    using lane_t = offset_lane_t<element, offset_t>;
    const int64_t first = (image * g.h.output + oh) * g.w.output;
    const element* top = x + image * map_size() + g.h.start(oh) * g.w.input;
    const element* bottom = top + g.h.dilation * g.w.input;
    for_offset_chunks<element, offset_t>(g.w.output, [&](auto width, int64_t i) {
      constexpr int N = width;
      const Vector<lane_t, N> tap = convert<lane_t, offset_t, N>(load<N>(offsets + first + i));
      Vector<element, N> value{};
      value = tap == 0 ? load_even<N>(top + 2 * i) : value;
      value = tap == 1 ? load_odd<N>(top + 2 * i) : value;
      value = tap == 2 ? load_even<N>(bottom + 2 * i) : value;
      value = tap == 3 ? load_odd<N>(bottom + 2 * i) : value;
      store<N>(values + first + i, value);
    });
  }

  // All channels of a small window: lanes = channels.
  void select_channels(int64_t image, int64_t oh, int64_t ow) const {
    using lane_t = offset_lane_t<element, offset_t>;
    const int64_t first = (image * g.h.output + oh) * row_size() + ow * channels;
    const element* corner = x + image * map_size() + (g.h.start(oh) * g.w.input + g.w.start(ow)) * channels;
    for_offset_chunks<element, offset_t>(channels, [&](auto width, int64_t i) {
      constexpr int N = width;
      const Vector<lane_t, N> switches = convert<lane_t, offset_t, N>(load<N>(offsets + first + i));
      Vector<element, N> value{};
      for (int64_t r = 0; r < g.h.kernel; ++r) {
        const element* row = corner + r * g.h.dilation * g.w.input * channels + i;
        for (int64_t c = 0; c < g.w.kernel; ++c) {
          const auto tap = static_cast<lane_t>(r * g.w.kernel + c);
          const element* source = row + c * g.w.dilation * channels;
          value = switches == tap ? load<N>(source) : value;
          prefetch_ahead(source);
        }
      }
      store<N>(values + first + i, value);
    });
  }

  // Any windows, each reading its one tap; `whole`: the windows of a row whose columns are all real.
  void read_row(int64_t image, int64_t oh, const TapTable& taps, Range<int64_t> whole) const {
    const int64_t top = g.h.start(oh);
    const bool inside = top >= 0 && top + g.h.extent() <= g.h.input;
    const Range<int64_t> unchecked = inside ? whole : Range<int64_t>{g.w.output, g.w.output};
    const int64_t first = (image * g.h.output + oh) * row_size();
    const offset_t* offset = offsets + first;
    element* value = values + first;
    checked_windows(image, top, {0, unchecked.begin}, taps, offset, value);
    const int64_t* steps = taps.steps();
    const auto tap_count = static_cast<uint64_t>(taps.size());
    const int64_t stride = g.w.stride * channels;
    const element* corner = x + image * map_size() + (top * g.w.input + g.w.start(unchecked.begin)) * channels;
    const auto read = [=](int64_t i, const element* from) {
      const int64_t tap = offset[i];
      value[i] = static_cast<uint64_t>(tap) < tap_count ? from[steps[tap]] : element{0};
    };
    if (channels == 1) {  // a plain loop, without one over channels in it
      for (int64_t ow = unchecked.begin; ow < unchecked.end; ++ow, corner += stride) read(ow, corner);
    } else {
      for (int64_t ow = unchecked.begin; ow < unchecked.end; ++ow, corner += stride) {
        for (int64_t c = 0; c < channels; ++c) read(ow * channels + c, corner + c);
      }
    }
    checked_windows(image, top, {unchecked.end, g.w.output}, taps, offset, value);
  }

  // Windows of a row, starting in row `top` of the map, whose taps may lie outside it.
  void checked_windows(int64_t image, int64_t top, Range<int64_t> windows, const TapTable& taps, const offset_t* offset,
                       element* value) const {
    for (int64_t ow = windows.begin; ow < windows.end; ++ow) {
      const int64_t left = g.w.start(ow);
      const element* corner = x + image * map_size() + (top * g.w.input + left) * channels;
      for (int64_t i = ow * channels; i < (ow + 1) * channels; ++i) {
        const int64_t tap = offset[i];
        const bool real =
            taps.contains(tap) && g.h.contains(top + taps[tap].row) && g.w.contains(left + taps[tap].column);
        value[i] = real ? corner[i - ow * channels + taps.step(tap)] : element{0};
      }
    }
  }
};

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
void gather_last_switch(const Planes& planes, const Pointers<offset_t>& pointers, const element_t<scalar_t>* x,
                        const offset_t* offsets, element_t<scalar_t>* values) {
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
void gather_mean(const Planes& planes, const Pointers<offset_t>& pointers, const element_t<scalar_t>* x,
                 const offset_t* offsets, element_t<scalar_t>* values) {
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
      if (mode == Overlap::sum) {
        const SumGather<scalar_t, offset_t> gather{g, planes.images, planes.channels, input, offset_data, output};
        return gather.run();
      }
      const auto run = mode == Overlap::last ? gather_last_switch<scalar_t, offset_t> : gather_mean<scalar_t, offset_t>;
      run(planes, Pointers<offset_t>(g), input, offset_data, output);
    });
  });
  return values;
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) { m.impl("switch_gather2d", TORCH_BOX(&switch_gather2d_cpu)); }

}  // namespace
}  // namespace wwae

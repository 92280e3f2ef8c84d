// switch_gather2d: the transpose of switch_unpool2d. Every window (N, C, OH, OW) reads the map x (N, C, H, W) at its
// switch; 0 where the switch names no real tap.
//
// Where windows overlap: "sum" reads all; "last" gives 0 to a window whose pixel a later one claims; "mean" divides by
// the number of windows that claim the pixel (in float32 for bfloat16 and float16).
//
// A contiguous tensor is N * C images of one channel, a channels-last one N images of C channels; work item = a row of
// windows of one image. Small windows read all taps and select (lanes = windows of a contiguous row, or channels),
// others read the one tap they need.
//
// Bytes moved per window, s = element size, o = offset size: read KH * KW * s + o when windows do not overlap (every
// cache line of the map is touched), write s.
#include <algorithm>

#include "common/checks.h"
#include "common/dtype.h"
#include "cpu/accumulate.h"
#include "cpu/claims.h"
#include "cpu/tap_table.h"
#include "cpu/tasks.h"

namespace wwae {
namespace {

// Windows up to this size select among vector loads of all their taps: cheaper than one scalar load per output.
constexpr int64_t kSelectTaps = 16;

template <typename scalar_t, typename offset_t>
struct Gather {
  using element = element_t<scalar_t>;

  const Geometry& g;
  Overlap overlap;  // sum when the windows are disjoint
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
    const Claims rows(g.h);
    const Claims columns(g.w);
    const bool all_real = all_whole(g.h) && all_whole(g.w);
    const int64_t grain = grain_size(row_size() * std::min(g.taps(), kSelectTaps));
    parallel_for(0, images * g.h.output, grain, [&](int64_t begin, int64_t end) {
      for_each_item(begin, end, g.h.output, [&](int64_t image, int64_t oh) {
        if (overlap != Overlap::sum) {
          shared_row(image, oh, taps, rows, columns);
        } else if (all_real && selects_windows()) {
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
          value = switches == tap ? load<N>(row + c * g.w.dilation * channels) : value;
        }
      }
      store<N>(values + first + i, value);
    });
  }

  // Any windows, each reading its one tap; `whole`: the windows of a row whose columns are all real.
  void read_row(int64_t image, int64_t oh, const TapTable& taps, Range<int64_t> whole) const {
    const element* map = x + image * map_size();
    const int64_t top = g.h.start(oh);
    const bool inside = top >= 0 && top + g.h.extent() <= g.h.input;
    const int64_t first = (image * g.h.output + oh) * row_size();
    for (int64_t ow = 0; ow < g.w.output; ++ow) {
      const int64_t left = g.w.start(ow);
      const element* corner = map + (top * g.w.input + left) * channels;
      const int64_t begin = first + ow * channels;
      if (inside && ow >= whole.begin && ow < whole.end) {
        for (int64_t c = 0; c < channels; ++c) {
          const int64_t offset = offsets[begin + c];
          values[begin + c] = taps.contains(offset) ? corner[taps[offset].step + c] : element{0};
        }
      } else {
        for (int64_t c = 0; c < channels; ++c) {
          const int64_t offset = offsets[begin + c];
          values[begin + c] = is_real(top, left, offset, taps) ? corner[taps[offset].step + c] : element{0};
        }
      }
    }
  }

  // `top`, `left`: the first tap of the window.
  bool is_real(int64_t top, int64_t left, int64_t offset, const TapTable& taps) const {
    return taps.contains(offset) && g.h.contains(top + taps[offset].row) && g.w.contains(left + taps[offset].column);
  }

  // Overlapping windows, "last" or "mean".
  void shared_row(int64_t image, int64_t oh, const TapTable& taps, const Claims& rows, const Claims& columns) const {
    const int64_t windows = image * g.h.output * row_size();
    for (int64_t ow = 0; ow < g.w.output; ++ow) {
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t at = windows + (oh * g.w.output + ow) * channels + c;
        const int64_t offset = offsets[at];
        element value{0};
        if (is_real(g.h.start(oh), g.w.start(ow), offset, taps)) {
          const int64_t h = g.h.start(oh) + taps[offset].row;
          const int64_t w = g.w.start(ow) + taps[offset].column;
          value = x[image * map_size() + (h * g.w.input + w) * channels + c];
          value = share(value, oh * g.w.output + ow, offsets + windows + c, {rows.begin(h), rows.end(h)},
                        {columns.begin(w), columns.end(w)});
        }
        values[at] = value;
      }
    }
  }

  // What `window` gets of the pixel that the claims look at; `switches`: (OH * OW) in steps of `channels`.
  element share(element value, int64_t window, const offset_t* switches, Range<const Claim*> rows,
                Range<const Claim*> columns) const {
    int64_t count = 0;
    int64_t last = window;
    for (const Claim* row = rows.begin; row < rows.end; ++row) {
      for (const Claim* column = columns.begin; column < columns.end; ++column) {
        const int64_t other = row->window * g.w.output + column->window;
        if (switches[other * channels] != row->tap * g.w.kernel + column->tap) continue;
        ++count;
        last = other;  // claims come in raster order
      }
    }
    if (overlap == Overlap::last) return last == window ? value : element{0};
    return narrow<scalar_t>(widen<scalar_t>(value) / static_cast<accumulate_t<scalar_t>>(count));
  }
};

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
      const bool contiguous = layout == MemoryFormat::Contiguous;
      const int64_t images = contiguous ? x.size(0) * x.size(1) : x.size(0);
      const Gather<scalar_t, offset_t> gather{g,
                                              mode,
                                              images,
                                              contiguous ? 1 : x.size(1),
                                              elements<scalar_t>(map),
                                              static_cast<const offset_t*>(switches.const_data_ptr()),
                                              mutable_elements<scalar_t>(values)};
      gather.run();
    });
  });
  return values;
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) { m.impl("switch_gather2d", TORCH_BOX(&switch_gather2d_cpu)); }

}  // namespace
}  // namespace wwae

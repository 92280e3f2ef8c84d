// fixed_unpool2d: map[n, c, h * SH + r, w * SW + s] = x[n, c, h, w] where that lies inside the map, 0 elsewhere, with
// position (r, s).
//
// Work item = a row of one plane (contiguous) or of one image (channels-last), where every element is written once, or
// a small contiguous plane, which is cleared first.
//
// Bytes moved per pixel, e = element size: write e, read e / (SH * SW).
#include <algorithm>
#include <vector>

#include "common/checks.h"
#include "common/dtype.h"
#include "cpu/lanes.h"
#include "cpu/tasks.h"

namespace wwae {
namespace {

// How many windows of an axis have their position inside the map: a prefix of them.
int64_t windows_inside(int64_t windows, int64_t stride, int64_t position, int64_t size) {
  return std::clamp<int64_t>(ceil_divide(size - position, stride), 0, windows);
}

// The window whose position is `at`, or -1.
int64_t window_at(int64_t at, int64_t inside, int64_t stride, int64_t position) {
  const int64_t distance = at - position;
  return distance >= 0 && distance % stride == 0 && distance / stride < inside ? distance / stride : -1;
}

// A row of a contiguous plane: `n` values at s, s + stride, ...
template <typename element>
void spread(const element* x, int64_t n, int64_t stride, int64_t s, int64_t width, element* out) {
  if (stride == 2 && s < 2 && 2 * n <= width) {
    for_chunks<kLanes<element>>(n, [&](auto lanes, int64_t i) {
      const auto value = load<lanes>(x + i);
      const Vector<element, lanes> zero{};
      store_interleaved<lanes>(out + 2 * i, s == 0 ? value : zero, s == 0 ? zero : value);
    });
    std::fill(out + 2 * n, out + width, element{0});
    return;
  }
  std::fill_n(out, width, element{0});
  for (int64_t i = 0; i < n; ++i) out[s + i * stride] = x[i];
}

// A contiguous plane of at most this many elements stays in the first-level cache between two passes, which cost less
// than a decision for every row.
constexpr int64_t kSmallPlane = 1024;

// Which elements of a plane of windows go to which of the map, for the first `n` rows and columns of windows.
struct Moves {
  std::vector<int32_t> from;
  std::vector<int32_t> to;

  Moves(int64_t x_columns, const Pair& n, const Pair& stride, const Pair& position, int64_t columns) {
    for (int64_t oh = 0; oh < n[0]; ++oh) {
      for (int64_t ow = 0; ow < n[1]; ++ow) {
        from.push_back(static_cast<int32_t>(oh * x_columns + ow));
        to.push_back(static_cast<int32_t>((position[0] + oh * stride[0]) * columns + position[1] + ow * stride[1]));
      }
    }
  }

  template <typename element>
  void apply(const element* x, element* out) const {
    const auto count = static_cast<int64_t>(to.size());
    const int32_t *source = from.data(), *target = to.data();
#pragma GCC unroll 8
    for (int64_t i = 0; i < count; ++i) out[target[i]] = x[source[i]];
  }
};

template <typename scalar_t>
void fixed_unpool(const Tensor& x, MemoryFormat layout, const Pair& stride, const Pair& position, const Tensor& map) {
  using element = element_t<scalar_t>;
  const bool contiguous = layout == MemoryFormat::Contiguous;
  const int64_t channels = contiguous ? 1 : x.size(1);
  const int64_t images = contiguous ? x.size(0) * x.size(1) : x.size(0);
  const int64_t rows = map.size(2), columns = map.size(3);
  const int64_t x_rows = x.size(2), x_row_size = x.size(3) * channels;
  const int64_t inside_rows = windows_inside(x_rows, stride[0], position[0], rows);
  const int64_t inside_columns = windows_inside(x.size(3), stride[1], position[1], columns);
  const element* input = elements<scalar_t>(x);
  element* output = mutable_elements<scalar_t>(map);
  if (contiguous && rows * columns <= kSmallPlane) {
    const Moves moves(x_row_size, {inside_rows, inside_columns}, stride, position, columns);
    return parallel_for(0, images, grain_size(rows * columns), [&](int64_t begin, int64_t end) {
      for (int64_t image = begin; image < end; ++image) {
        std::fill_n(output + image * rows * columns, rows * columns, element{0});
        moves.apply(input + image * x_rows * x_row_size, output + image * rows * columns);
      }
    });
  }
  parallel_for(0, images * rows, grain_size(columns * channels), [&](int64_t begin, int64_t end) {
    for_each_item(begin, end, rows, [&](int64_t image, int64_t h) {
      element* out = output + (image * rows + h) * columns * channels;
      const int64_t oh = window_at(h, inside_rows, stride[0], position[0]);
      if (oh < 0) {
        std::fill_n(out, columns * channels, element{0});
        return;
      }
      const element* values = input + (image * x_rows + oh) * x_row_size;
      if (contiguous) return spread(values, inside_columns, stride[1], position[1], columns, out);
      int64_t filled = 0;
      for (int64_t ow = 0; ow < inside_columns; ++ow) {
        const int64_t w = position[1] + ow * stride[1];
        std::fill(out + filled * channels, out + w * channels, element{0});
        std::copy_n(values + ow * channels, channels, out + w * channels);
        filled = w + 1;
      }
      std::fill(out + filled * channels, out + columns * channels, element{0});
    });
  });
}

Tensor fixed_unpool2d_cpu(const Tensor& x, const Pair& stride, const Pair& position, const Pair& output_size) {
  constexpr const char* op = "fixed_unpool2d";
  check_4d(op, "x", x);
  check_pair(op, "stride", stride, 1);
  check_pair(op, "position", position, 0);
  check_pair(op, "output_size", output_size, 0);
  const MemoryFormat layout = memory_format_of(x);
  Tensor map = allocate({x.size(0), x.size(1), output_size[0], output_size[1]}, x.scalar_type(), layout, x);
  dispatch_floating(op, x, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    if (map.numel() > 0) fixed_unpool<scalar_t>(with_layout(x, layout), layout, stride, position, map);
  });
  return map;
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) { m.impl("fixed_unpool2d", TORCH_BOX(&fixed_unpool2d_cpu)); }

}  // namespace
}  // namespace wwae

// soft_argmax_unpool2d_backward: from the gradient of the map (N, C, H, W), with the weights that unpooling splits by,
//
//   gradient in what   sum of weight * gradient over the taps of the window that lie on the map
//   gradient in where  what * sum of (slope of the weight) * gradient; the slope is 0 strictly outside [-1, 1]
//
// Work item = a block of contiguous planes (plane_blocks.h), or, where these are large or few, a row of windows of one
// image; lanes = channels, planes of a block, or windows of a contiguous row. Every output is written once.
//
// Bytes moved per window, s = element size, f = size of a position, A = pixels per window: read A s + s + 2 f, write
// s + 2 f.
#include "common/checks.h"
#include "common/dtype.h"
#include "common/pairs.h"
#include "cpu/interpolation.h"
#include "cpu/soft_blocks.h"

namespace wwae {
namespace {

// Windows up to this size read all their taps, those of neighbouring lanes together; of others every lane reads the
// four that have a weight.
constexpr int64_t kReadAll = 9;

// Sums over the taps of N windows.
template <typename sum_t, int N>
struct Gradients {
  using lanes_t = Vector<sum_t, N>;

  const Interpolation<sum_t, N>& across;
  const Interpolation<sum_t, N>& down;
  lanes_t what{};
  lanes_t x{};
  lanes_t y{};

  // Adds the taps `tap(c)` for c in `columns` of row `r`; `column(c)` is the number of such a tap.
  template <typename Column, typename Tap>
  void add_row(lanes_t r, Range<int64_t> columns, const Column& column, const Tap& tap) {
    lanes_t row{};
    lanes_t row_slope{};
    for (int64_t c = columns.begin; c < columns.end; ++c) {
      const lanes_t value = tap(c);
      row += times(across.weight(column(c)), value);
      row_slope += times(across.weight_slope(column(c)), value);
    }
    const lanes_t weight = down.weight(r);
    what += times(weight, row);
    x += times(weight, row_slope);
    y += times(down.weight_slope(r), row);
  }
};

template <typename scalar_t>
struct SoftUnpoolBackward {
  using element = element_t<scalar_t>;
  using sum_t = accumulate_t<scalar_t>;

  const Geometry& g;
  int64_t channels;
  const element* what;  // (images, OH, OW, channels)
  const sum_t* where;  // (images, OH, OW, channels, 2)
  const element* grad;  // (images, H, W, channels)
  element* grad_what;
  sum_t* grad_where;

  void row(int64_t image, int64_t oh) const {
    for_windows_of_row<sum_t, false>(g, channels, {0, channels},
                                     [&](auto width, auto... place) { windows<width>(image, oh, place...); });
  }

 private:
  template <int N>
  void windows(int64_t image, int64_t oh, int64_t ow, Range<int64_t> columns, int64_t channel) const {
    using lanes_t = Vector<sum_t, N>;
    const int64_t line = g.w.input * channels;
    const int64_t stride = channels > 1 ? 1 : g.w.stride;
    const Range<int64_t> rows = g.h.taps(oh);
    const int64_t at = ((image * g.h.output + oh) * g.w.output + ow) * channels + channel;
    const element* corner = grad + (image * g.h.input + g.h.start(oh)) * line + g.w.start(ow) * channels + channel;
    const Interpolation<sum_t, N> across(load_even<N>(where + 2 * at), g.w.kernel);
    const Interpolation<sum_t, N> down(load_odd<N>(where + 2 * at), g.h.kernel);
    Gradients<sum_t, N> gradients{across, down};
    // A tap outside of the map has gradient 0, which a weight of NaN makes NaN: windows with such taps look at the
    // four.
    const bool whole = rows.begin == 0 && rows.end == g.h.kernel && columns.begin == 0 && columns.end == g.w.kernel;
    if (whole && g.taps() <= kReadAll) {
      for (int64_t r = rows.begin; r < rows.end; ++r) {
        gradients.add_row(tap_number<sum_t, N>(r), columns, tap_number<sum_t, N>, [&](int64_t c) {
          return widen<scalar_t, N>(load_tap<N>(corner + r * line + c * channels, stride, c, g.w.kernel));
        });
      }
    } else {
      for (int64_t i = 0; i < 2; ++i) {
        const lanes_t r = down.lower + static_cast<sum_t>(i);
        const auto column = [&](int64_t j) -> lanes_t { return across.lower + static_cast<sum_t>(j); };
        gradients.add_row(r, {0, 2}, column, [&](int64_t j) {
          return widen<scalar_t, N>(gather<N>(corner, line, stride, rows, columns, r, column(j)));
        });
      }
    }
    const lanes_t factor = widen<scalar_t, N>(load<N>(what + at));
    store<N>(grad_what + at, narrow<scalar_t, N>(gradients.what));
    // Where the slope is 0 the other axis counts for nothing, even if its position is NaN.
    const lanes_t x = across.slope == 0 ? lanes_t{} : times(gradients.x, factor);
    const lanes_t y = down.slope == 0 ? lanes_t{} : times(gradients.y, factor);
    store_interleaved<N>(grad_where + 2 * at, x, y);
  }

  // Tap (r, c) of N windows, in every lane another; 0 where it is not real.
  template <int N>
  Vector<element, N> gather(const element* corner, int64_t line, int64_t stride, Range<int64_t> rows,
                            Range<int64_t> columns, Vector<sum_t, N> r, Vector<sum_t, N> c) const {
    const auto tap = [&](int64_t i, sum_t lane_r, sum_t lane_c) {
      const auto row = static_cast<int64_t>(lane_r);
      const auto column = static_cast<int64_t>(lane_c);
      const bool real = row >= rows.begin && row < rows.end && column >= columns.begin && column < columns.end;
      return real ? corner[i * stride + row * line + column * channels] : element{0};
    };
    if constexpr (N == 1) {
      return tap(0, r, c);
    } else {
      Vector<element, N> taps{};
      for (int i = 0; i < N; ++i) taps[i] = tap(i, r[i], c[i]);
      return taps;
    }
  }
};

template <typename scalar_t>
void unpool_backward(const Geometry& g, const Images& images, const SoftUnpoolBackward<scalar_t>& backward) {
  using sum_t = accumulate_t<scalar_t>;
  // So little is computed here that copies only pay where rows are short, and all taps are read.
  if (g.w.output >= kLanes<sum_t> || g.taps() > kReadAll || !in_blocks<sum_t>(g, images)) {
    const int64_t grain = grain_size(g.w.output * images.channels * std::min(g.taps(), kReadAll));
    parallel_for(0, images.count * g.h.output, grain, [&](int64_t begin, int64_t end) {
      for_each_item(begin, end, g.h.output, [&](int64_t image, int64_t oh) { backward.row(image, oh); });
    });
    return;
  }
  struct Block {
    BlockOf<element_t<scalar_t>> what, grad, grad_what;
    BlockOfPairs<sum_t> where, grad_where;
  };
  const int64_t pixels = g.h.input * g.w.input, windows = g.h.output * g.w.output;
  const auto scratch = [=] {
    constexpr int kPlanes = kLanes<sum_t>;
    return Block{{windows, kPlanes}, {pixels, kPlanes}, {windows, kPlanes}, {windows, kPlanes}, {windows, kPlanes}};
  };
  for_each_block<sum_t>(g, images, scratch, [&](Block& own, Group group) {
    const SoftUnpoolBackward<scalar_t> block{g,
                                             group.images,
                                             own.what.read(backward.what, group),
                                             own.where.read(backward.where, group),
                                             own.grad.read(backward.grad, group),
                                             own.grad_what.data(),
                                             own.grad_where.data()};
    for (int64_t oh = 0; oh < g.h.output; ++oh) block.row(0, oh);
    own.grad_what.write(backward.grad_what, group);
    own.grad_where.write(backward.grad_where, group);
  });
}

std::tuple<Tensor, Tensor> soft_argmax_unpool2d_backward_cpu(const Tensor& what, const Tensor& where,
                                                             const Tensor& grad, const Pair& kernel_size,
                                                             const Pair& stride, const Pair& padding) {
  constexpr const char* op = "soft_argmax_unpool2d_backward";
  check_4d(op, "what", what);
  check_4d(op, "grad", grad);
  check_shape(op, "grad", grad, {what.size(0), what.size(1), grad.size(2), grad.size(3)});
  check_dtype(op, "grad", grad, what.scalar_type());
  check_same_device(op, "grad", grad, what);
  const Geometry g = unpool_geometry(op, what, kernel_size, stride, padding, {1, 1}, {grad.size(2), grad.size(3)});
  const MemoryFormat layout = memory_format_of(what);
  return dispatch_floating(op, what, [&](auto scalar) -> std::tuple<Tensor, Tensor> {
    using scalar_t = typename decltype(scalar)::type;
    using sum_t = accumulate_t<scalar_t>;
    check_positions(op, where, what);
    Tensor grad_what = allocate(sizes_of(what), what.scalar_type(), layout, what);
    Tensor grad_where = allocate_pairs(sizes_of(what), where.scalar_type(), layout, what);
    if (grad_what.numel() == 0) return {grad_what, grad_where};
    const Tensor values = with_layout(what, layout);
    const Tensor positions = pairs_with_layout(where, layout);
    const Tensor map = with_layout(grad, layout);
    const Images images(what, layout);
    const SoftUnpoolBackward<scalar_t> backward{g,
                                                images.channels,
                                                elements<scalar_t>(values),
                                                static_cast<const sum_t*>(positions.const_data_ptr()),
                                                elements<scalar_t>(map),
                                                mutable_elements<scalar_t>(grad_what),
                                                static_cast<sum_t*>(grad_where.mutable_data_ptr())};
    unpool_backward(g, images, backward);
    return {grad_what, grad_where};
  });
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) {
  m.impl("soft_argmax_unpool2d_backward", TORCH_BOX(&soft_argmax_unpool2d_backward_cpu));
}

}  // namespace
}  // namespace wwae

// soft_argmax_unpool2d_backward: from the gradient of the map (N, C, H, W), with the weights that unpooling splits by,
//
//   gradient in what   sum of weight * gradient over the taps of the window that lie on the map
//   gradient in where  what * sum of (slope of the weight) * gradient; the slope is 0 strictly outside [-1, 1]
//
// Work item = a row of windows of one image; lanes = windows of a contiguous row, or channels. Every output is written
// once.
//
// Bytes moved per window, s = element size, f = size of a position, A = pixels per window: read A s + s + 2 f, write
// s + 2 f.
#include "common/checks.h"
#include "common/dtype.h"
#include "common/pairs.h"
#include "cpu/interpolation.h"

namespace wwae {
namespace {

template <typename scalar_t>
struct SoftUnpoolBackward {
  using element = element_t<scalar_t>;
  using sum_t = accumulate_t<scalar_t>;

  const Geometry& g;
  const Images& images;
  const element* what;  // (images, OH, OW, channels)
  const sum_t* where;  // (images, OH, OW, channels, 2)
  const element* grad;  // (images, H, W, channels)
  element* grad_what;
  sum_t* grad_where;

  void run() const {
    const int64_t grain = grain_size(g.w.output * images.channels * g.taps());
    parallel_for(0, images.count * g.h.output, grain, [&](int64_t begin, int64_t end) {
      for_each_item(begin, end, g.h.output, [&](int64_t image, int64_t oh) { row(image, oh); });
    });
  }

 private:
  void row(int64_t image, int64_t oh) const {
    const int64_t channels = images.channels;
    const int64_t line = g.w.input * channels;
    const int64_t stride = channels > 1 ? 1 : g.w.stride;
    const Range<int64_t> real_rows = g.h.taps(oh);
    for_windows_of_row<sum_t>(g, channels, {0, channels}, [&](auto width, int64_t ow, auto real, int64_t channel) {
      constexpr int N = width;
      using lanes_t = Vector<sum_t, N>;
      const int64_t at = ((image * g.h.output + oh) * g.w.output + ow) * channels + channel;
      const element* corner = grad + (image * g.h.input + g.h.start(oh)) * line + g.w.start(ow) * channels + channel;
      const Interpolation<sum_t, N> across(load_even<N>(where + 2 * at), g.w.kernel);
      const Interpolation<sum_t, N> down(load_odd<N>(where + 2 * at), g.h.kernel);
      lanes_t value{};
      lanes_t x{};
      lanes_t y{};
      for (int64_t r = real_rows.begin; r < real_rows.end; ++r) {
        lanes_t row{};
        lanes_t row_slope{};
        for (int64_t c = real.begin; c < real.end; ++c) {
          const lanes_t tap = widen<scalar_t, N>(load_tap<N>(corner + r * line + c * channels, stride, c, g.w.kernel));
          row += times(across.weight(c), tap);
          row_slope += times(across.weight_slope(c), tap);
        }
        const lanes_t weight = down.weight(r);
        value += times(weight, row);
        x += times(weight, row_slope);
        y += times(down.weight_slope(r), row);
      }
      const lanes_t factor = widen<scalar_t, N>(load<N>(what + at));
      store<N>(grad_what + at, narrow<scalar_t, N>(value));
      // Where the slope is 0 the other axis counts for nothing, even if its position is NaN.
      x = across.slope == 0 ? lanes_t{} : times(x, factor);
      y = down.slope == 0 ? lanes_t{} : times(y, factor);
      store_interleaved<N>(grad_where + 2 * at, x, y);
    });
  }
};

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
                                                images,
                                                elements<scalar_t>(values),
                                                static_cast<const sum_t*>(positions.const_data_ptr()),
                                                elements<scalar_t>(map),
                                                mutable_elements<scalar_t>(grad_what),
                                                static_cast<sum_t*>(grad_where.mutable_data_ptr())};
    backward.run();
    return {grad_what, grad_where};
  });
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) {
  m.impl("soft_argmax_unpool2d_backward", TORCH_BOX(&soft_argmax_unpool2d_backward_cpu));
}

}  // namespace
}  // namespace wwae

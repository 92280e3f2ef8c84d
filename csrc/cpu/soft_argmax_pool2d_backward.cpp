// soft_argmax_pool2d_backward: from the gradients g in what and p in where, at a tap z of weight w
//
//   gradient in z     sum over the windows of w (g + beta h), with h = g (z - what) + p . (position - where)
//   gradient in beta  sum of w (z - what) h, for every plane
//
// One pass over x: the softmax of a window is made again, its powers kept in the first-level cache, and the gradient
// written. Work item and lanes as in soft_argmax_pool2d. Windows that do not meet are written row by row; others are
// added in the order of their rows in a buffer of one plane (a block of planes, or some channels of an image), and
// rounded once. The sum for beta goes along a row of windows and then over the rows. So no order depends on the number
// of threads.
//
// Bytes moved per window, s = element size, f = size of a sum, A = pixels per window: read A s + s + 2 f, write A s.
#include "common/checks.h"
#include "common/dtype.h"
#include "common/pairs.h"
#include "cpu/soft_blocks.h"
#include "cpu/wide_window.h"

namespace wwae {
namespace {

template <typename scalar_t>
struct SoftPoolBackward {
  using element = element_t<scalar_t>;
  using sum_t = accumulate_t<scalar_t>;

  const Geometry& g;
  const TapPositions<sum_t>& positions;
  int64_t channels;
  const element* x;  // (images, H, W, channels)
  const element* what;  // gradients; (images, OH, OW, channels)
  const sum_t* where;  // (images, OH, OW, channels, 2)
  const sum_t* betas;  // (images, channels)
  sum_t* beta_rows;  // (images, OH, channels), or null

  template <typename target_t>
  void row(const target_t& target, int64_t image, int64_t oh, Range<int64_t> some_channels) const {
    std::vector<sum_t> powers(g.taps() * kLanes<sum_t>);
    const int64_t first = (image * g.h.output + oh) * channels;
    const auto add = [&](int64_t channel, sum_t sum) {
      if (beta_rows != nullptr) beta_rows[first + channel] += sum;
    };
    if (beta_rows != nullptr)
      std::fill_n(beta_rows + first + some_channels.begin, some_channels.end - some_channels.begin, 0);
    if (wide_windows(g.w, channels)) {
      for (int64_t ow = 0; ow < g.w.output; ++ow) add(0, wide_window(target, image, oh, ow, powers.data()));
      return;
    }
    for_windows_of_row<sum_t, true>(
        g, channels, some_channels, [&](auto width, int64_t ow, auto real, int64_t channel) {
          constexpr int N = width;
          const Vector<sum_t, N> sum = window<N>(target, image, oh, ow, real, channel, powers.data());
          int64_t at = channel;
          WideWindow<scalar_t>::template for_each_lane<N>(sum, [&](sum_t one) { add(channels > 1 ? at++ : 0, one); });
        });
  }

 private:
  // Puts the gradient of N windows, returns their gradient in beta.
  template <int N, typename target_t>
  Vector<sum_t, N> window(const target_t& target, int64_t image, int64_t oh, int64_t ow, Range<int64_t> real,
                          int64_t channel, sum_t* powers) const {
    using lanes_t = Vector<sum_t, N>;
    const Taps<element> taps(g, x, channels, image, oh, ow, real, channel);
    const sum_t* sharpness = betas + image * channels + channel;
    const lanes_t beta = channels > 1 ? load_strided<N>(sharpness, 1) : broadcast<N>(*sharpness);
    const SoftWindow<scalar_t, N> soft(taps, beta, positions, powers);

    const int64_t at = ((image * g.h.output + oh) * g.w.output + ow) * channels + channel;
    const lanes_t value = widen<scalar_t, N>(load<N>(what + at));
    const lanes_t across = load_even<N>(where + 2 * at);
    const lanes_t down = load_odd<N>(where + 2 * at);
    const lanes_t share = 1 / soft.total;
    lanes_t beta_sum{};
    for (int64_t r = taps.rows.begin; r < taps.rows.end; ++r) {
      const lanes_t row_pull = down * (positions.rows[r] - soft.y);
      auto* place = target.at(g.h.start(oh) + r, g.w.start(ow), channel);
      target.template put_row<N>(place, g.w, real, taps.stride, target.channels, [&](int64_t c) -> lanes_t {
        const lanes_t weight = load<N>(powers + (r * g.w.kernel + c) * N) * share;
        const lanes_t centred = Below<sum_t, N>(soft.tap(r, c), soft.maximum).below - soft.mean;
        const lanes_t pull = value * centred + across * (positions.columns[c] - soft.x) + row_pull;
        beta_sum += weight * centred * pull;
        return weight * (value + beta * pull);
      });
    }
    return beta_sum;
  }

  // The same for one large window of a contiguous plane.
  template <typename target_t>
  sum_t wide_window(const target_t& target, int64_t image, int64_t oh, int64_t ow, sum_t* powers) const {
    const Taps<element> taps(g, x, channels, image, oh, ow, g.w.taps(ow), 0);
    const sum_t beta = betas[image];
    const WideWindow<scalar_t> soft(taps, beta, positions, powers);
    const int64_t at = (image * g.h.output + oh) * g.w.output + ow;
    const sum_t value = widen<scalar_t>(what[at]);
    const sum_t across = where[2 * at];
    const sum_t down = where[2 * at + 1];
    const sum_t share = 1 / soft.total;
    Vector<sum_t, kLanes<sum_t>> beta_sums{};
    sum_t beta_sum = 0;
    soft.each_row([&](auto width, int64_t r, int64_t c) {
      constexpr int N = width;
      using lanes_t = Vector<sum_t, N>;
      const lanes_t weight = load<N>(powers + r * g.w.kernel + c) * share;
      const lanes_t centred = Below<sum_t, N>(soft.template tap<N>(r, c), broadcast<N>(soft.maximum)).below - soft.mean;
      const lanes_t pull = value * centred + across * (load<N>(positions.columns.data() + c) - soft.x) +
                           down * (positions.rows[r] - soft.y);
      const lanes_t part = weight * centred * pull;
      if constexpr (N == kLanes<sum_t>) {
        beta_sums += part;
      } else {
        soft.template for_each_lane<N>(part, [&](sum_t one) { beta_sum += one; });
      }
      target_t::template put<N>(target.at(g.h.start(oh) + r, g.w.start(ow) + c, 0), 1, weight * (value + beta * pull));
    });
    soft.template for_each_lane<kLanes<sum_t>>(beta_sums, [&](sum_t one) { beta_sum += one; });
    return beta_sum;
  }
};

// `sums` (channels) of `rows` (OH, channels).
template <typename sum_t>
void add_rows(const Geometry& g, int64_t channels, const sum_t* rows, sum_t* sums) {
  for (int64_t oh = 0; oh < g.h.output; ++oh) {
    for (int64_t c = 0; c < channels; ++c) sums[c] += rows[oh * channels + c];
  }
}

// `beta_sums`: (images, channels), 0 so far, or null.
template <typename scalar_t>
void backward_of_blocks(const Geometry& g, const Images& images, const SoftPoolBackward<scalar_t>& all,
                        element_t<scalar_t>* grad_x, accumulate_t<scalar_t>* beta_sums) {
  using sum_t = accumulate_t<scalar_t>;
  struct Block {
    BlockOf<element_t<scalar_t>> x, what;
    BlockOfPairs<sum_t> where;
    BlockOfWindows<scalar_t> grad_x;
    std::vector<sum_t> beta_rows;
  };
  const int64_t pixels = g.h.input * g.w.input, windows = g.h.output * g.w.output;
  const int64_t rows = beta_sums != nullptr ? g.h.output : 0;
  const auto scratch = [&, pixels, windows, rows] {
    constexpr int kPlanes = kLanes<sum_t>;
    return Block{
        {pixels, kPlanes}, {windows, kPlanes}, {windows, kPlanes}, {g, kPlanes}, std::vector<sum_t>(rows * kPlanes)};
  };
  for_each_block<sum_t>(g, images, scratch, [&](Block& own, Group group) {
    const SoftPoolBackward<scalar_t> block{
        g,
        all.positions,
        group.images,
        own.x.read(all.x, group),
        own.what.read(all.what, group),
        own.where.read(all.where, group),
        all.betas + group.first,
        beta_sums != nullptr ? own.beta_rows.data() : nullptr,
    };
    own.grad_x.write(grad_x, group, [&](const auto& target, auto... place) { block.row(target, place...); });
    if (beta_sums != nullptr) add_rows(g, group.images, own.beta_rows.data(), beta_sums + group.first);
  });
}

std::tuple<Tensor, Tensor> soft_argmax_pool2d_backward_cpu(const Tensor& x, const Tensor& beta, const Tensor& grad_what,
                                                           const Tensor& grad_where, const Pair& kernel_size,
                                                           const Pair& stride, const Pair& padding, bool beta_grad) {
  constexpr const char* op = "soft_argmax_pool2d_backward";
  check_4d(op, "x", x);
  const Geometry g = pool_geometry(op, x, kernel_size, stride, padding, {1, 1}, false);
  const MemoryFormat layout = memory_format_of(x);
  return dispatch_floating(op, x, [&](auto scalar) -> std::tuple<Tensor, Tensor> {
    using scalar_t = typename decltype(scalar)::type;
    using sum_t = accumulate_t<scalar_t>;
    check_plane_values(op, "beta", beta, x);
    check_gradients(op, grad_what, grad_where, x, g);
    Tensor grad_x = allocate(sizes_of(x), x.scalar_type(), layout, x);
    Tensor grad_beta = allocate({x.size(0), x.size(1)}, beta.scalar_type(), MemoryFormat::Contiguous, x);
    auto* beta_sums = static_cast<sum_t*>(grad_beta.mutable_data_ptr());
    std::fill_n(beta_sums, grad_beta.numel(), sum_t{0});
    if (grad_x.numel() == 0) return {grad_x, grad_beta};
    const Tensor map = with_layout(x, layout);
    const Tensor what = with_layout(grad_what, layout);
    const Tensor where = pairs_with_layout(grad_where, layout);
    const Images images(x, layout);
    const std::vector<sum_t> betas = plane_values<sum_t>(beta);
    const TapPositions<sum_t> positions(g);
    const bool blocks = in_blocks<sum_t>(g, images);
    std::vector<sum_t> beta_rows(beta_grad && !blocks ? images.count * g.h.output * images.channels : 0);
    const SoftPoolBackward<scalar_t> backward{g,
                                              positions,
                                              images.channels,
                                              elements<scalar_t>(map),
                                              elements<scalar_t>(what),
                                              static_cast<const sum_t*>(where.const_data_ptr()),
                                              betas.data(),
                                              beta_grad ? beta_rows.data() : nullptr};
    auto* gradient = mutable_elements<scalar_t>(grad_x);
    if (blocks) {
      backward_of_blocks(g, images, backward, gradient, beta_grad ? beta_sums : nullptr);
      return {grad_x, grad_beta};
    }
    write_windows<scalar_t>(g, images, gradient,
                            [&](const auto& target, auto... place) { backward.row(target, place...); });
    for (int64_t image = 0; beta_grad && image < images.count; ++image) {
      const int64_t first = image * images.channels;
      add_rows(g, images.channels, beta_rows.data() + first * g.h.output, beta_sums + first);
    }
    return {grad_x, grad_beta};
  });
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) {
  m.impl("soft_argmax_pool2d_backward", TORCH_BOX(&soft_argmax_pool2d_backward_cpu));
}

}  // namespace
}  // namespace wwae

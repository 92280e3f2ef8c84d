// soft_argmax_pool2d: what (N, C, OH, OW) = sum of w z and where (N, C, OH, OW, 2) = sum of w (x, y) over the taps of a
// window, w = softmax of beta z. The rules for NaN and infinities are in soft_window.h.
//
// Work item = a block of contiguous planes (plane_blocks.h), or, where these are large or few, a row of windows of one
// image. Lanes = channels, planes of a block, windows of a contiguous row, or, of large windows there, columns of one
// (wide_window.h). A window's taps are read twice, for the maximum and for the sums; the second time from the
// first-level cache. 16-bit floats are computed in float32.
//
// Bytes moved per window, s = element size, f = size of a sum: read A s, A = pixels per window, write s + 2 f.
#include "common/checks.h"
#include "common/dtype.h"
#include "common/pairs.h"
#include "cpu/soft_blocks.h"
#include "cpu/wide_window.h"

namespace wwae {
namespace {

template <typename scalar_t>
struct SoftPool {
  using element = element_t<scalar_t>;
  using sum_t = accumulate_t<scalar_t>;

  const Geometry& g;
  const TapPositions<sum_t>& positions;
  int64_t channels;
  const element* x;  // (images, H, W, channels)
  const sum_t* betas;  // (images, channels)
  element* what;  // (images, OH, OW, channels)
  sum_t* where;  // (images, OH, OW, channels, 2)

  void row(int64_t image, int64_t oh) const {
    const int64_t first = (image * g.h.output + oh) * g.w.output;
    if (wide_windows(g.w, channels)) {
      for (int64_t ow = 0; ow < g.w.output; ++ow) {
        const Taps<element> taps(g, x, channels, image, oh, ow, g.w.taps(ow), 0);
        const WideWindow<scalar_t> window(taps, betas[image], positions, nullptr);
        what[first + ow] = narrow<scalar_t>(window.maximum + window.mean);
        where[2 * (first + ow)] = window.x;
        where[2 * (first + ow) + 1] = window.y;
      }
      return;
    }
    for_windows_of_row<sum_t, false>(
        g, channels, {0, channels}, [&](auto width, int64_t ow, auto real, int64_t channel) {
          constexpr int N = width;
          const Taps<element> taps(g, x, channels, image, oh, ow, real, channel);
          const sum_t* sharpness = betas + image * channels + channel;
          const Vector<sum_t, N> beta = channels > 1 ? load_strided<N>(sharpness, 1) : broadcast<N>(*sharpness);
          const SoftWindow<scalar_t, N> window(taps, beta, positions, nullptr);
          const int64_t at = (first + ow) * channels + channel;
          store<N>(what + at, narrow<scalar_t, N>(window.maximum + window.mean));
          store_interleaved<N>(where + 2 * at, window.x, window.y);
        });
  }
};

template <typename scalar_t>
void soft_pool(const Geometry& g, const Images& images, const SoftPool<scalar_t>& pool) {
  using sum_t = accumulate_t<scalar_t>;
  if (!in_blocks<sum_t>(g, images)) {
    const int64_t grain = grain_size(g.w.output * images.channels * g.taps());
    parallel_for(0, images.count * g.h.output, grain, [&](int64_t begin, int64_t end) {
      for_each_item(begin, end, g.h.output, [&](int64_t image, int64_t oh) { pool.row(image, oh); });
    });
    return;
  }
  struct Block {
    BlockOf<element_t<scalar_t>> x, what;
    BlockOfPairs<sum_t> where;
  };
  const int64_t pixels = g.h.input * g.w.input, windows = g.h.output * g.w.output;
  const auto scratch = [=] {
    constexpr int kPlanes = kLanes<sum_t>;
    return Block{{pixels, kPlanes}, {windows, kPlanes}, {windows, kPlanes}};
  };
  for_each_block<sum_t>(g, images, scratch, [&](Block& own, Group group) {
    const SoftPool<scalar_t> block{
        g,
        pool.positions,
        group.images,
        own.x.read(pool.x, group),
        pool.betas + group.first,
        own.what.data(),
        own.where.data(),
    };
    for (int64_t oh = 0; oh < g.h.output; ++oh) block.row(0, oh);
    own.what.write(pool.what, group);
    own.where.write(pool.where, group);
  });
}

std::tuple<Tensor, Tensor> soft_argmax_pool2d_cpu(const Tensor& x, const Tensor& beta, const Pair& kernel_size,
                                                  const Pair& stride, const Pair& padding) {
  constexpr const char* op = "soft_argmax_pool2d";
  check_4d(op, "x", x);
  const Geometry g = pool_geometry(op, x, kernel_size, stride, padding, {1, 1}, false);
  const MemoryFormat layout = memory_format_of(x);
  const Sizes size = {x.size(0), x.size(1), g.h.output, g.w.output};
  return dispatch_floating(op, x, [&](auto scalar) -> std::tuple<Tensor, Tensor> {
    using scalar_t = typename decltype(scalar)::type;
    using sum_t = accumulate_t<scalar_t>;
    check_plane_values(op, "beta", beta, x);
    Tensor what = allocate(size, x.scalar_type(), layout, x);
    Tensor where = allocate_pairs(size, beta.scalar_type(), layout, x);
    if (what.numel() > 0) {
      const Tensor map = with_layout(x, layout);
      const Images images(x, layout);
      const TapPositions<sum_t> positions(g);
      const std::vector<sum_t> betas = plane_values<sum_t>(beta);
      soft_pool<scalar_t>(g, images,
                          {g, positions, images.channels, elements<scalar_t>(map), betas.data(),
                           mutable_elements<scalar_t>(what), static_cast<sum_t*>(where.mutable_data_ptr())});
    }
    return {what, where};
  });
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) { m.impl("soft_argmax_pool2d", TORCH_BOX(&soft_argmax_pool2d_cpu)); }

}  // namespace
}  // namespace wwae

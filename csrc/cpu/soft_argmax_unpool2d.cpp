// soft_argmax_unpool2d: every value of what (N, C, OH, OW) is split over the four taps of its window around where
// (N, C, OH, OW, 2), which holds (x, y) in [-1, 1]; 0 elsewhere in the map (N, C, H, W). Overlapping windows add.
//
// Work item = a block of contiguous planes (plane_blocks.h), or, where these are large or few, a row of windows or an
// image. Lanes = channels, planes of a block, or windows of a contiguous row. A window writes all its taps, most of
// them 0: straight away where windows do not meet, else into a buffer of sums, in the order of the rows of windows
// (tap_lanes.h).
//
// Bytes moved per window, s = element size, f = size of a position, A = pixels per window: read s + 2 f, write A s.
#include "common/checks.h"
#include "common/dtype.h"
#include "common/pairs.h"
#include "cpu/interpolation.h"
#include "cpu/soft_blocks.h"

namespace wwae {
namespace {

template <typename scalar_t>
struct SoftUnpool {
  using sum_t = accumulate_t<scalar_t>;

  const Geometry& g;
  int64_t channels;
  const element_t<scalar_t>* what;  // (images, OH, OW, channels)
  const sum_t* where;  // (images, OH, OW, channels, 2)

  template <typename target_t>
  void row(const target_t& target, int64_t image, int64_t oh, Range<int64_t> some_channels) const {
    const int64_t stride = channels > 1 ? 1 : g.w.stride;
    const Range<int64_t> real_rows = g.h.taps(oh);
    for_windows_of_row<sum_t, target_t::kAdd>(
        g, channels, some_channels, [&](auto width, int64_t ow, auto real, int64_t channel) {
          constexpr int N = width;
          using lanes_t = Vector<sum_t, N>;
          const int64_t at = ((image * g.h.output + oh) * g.w.output + ow) * channels + channel;
          const lanes_t value = widen<scalar_t, N>(load<N>(what + at));
          const Interpolation<sum_t, N> across(load_even<N>(where + 2 * at), g.w.kernel);
          const Interpolation<sum_t, N> down(load_odd<N>(where + 2 * at), g.h.kernel);
          for (int64_t r = real_rows.begin; r < real_rows.end; ++r) {
            const lanes_t row_weight = down.weight(tap_number<sum_t, N>(r));
            auto* place = target.at(g.h.start(oh) + r, g.w.start(ow), channel);
            target.template put_row<N>(place, g.w, real, stride, target.channels, [&](int64_t c) -> lanes_t {
              const lanes_t weight =
                  row_weight == 0 ? lanes_t{} : times(across.weight(tap_number<sum_t, N>(c)), row_weight);
              return times(weight, value);
            });
          }
        });
  }
};

template <typename scalar_t>
void unpool_blocks(const Geometry& g, const Images& images, const SoftUnpool<scalar_t>& all, element_t<scalar_t>* map) {
  using sum_t = accumulate_t<scalar_t>;
  struct Block {
    BlockOf<element_t<scalar_t>> what;
    BlockOfPairs<sum_t> where;
    BlockOfWindows<scalar_t> map;
  };
  const int64_t windows = g.h.output * g.w.output;
  const auto scratch = [&g, windows] {
    constexpr int kPlanes = kLanes<sum_t>;
    return Block{{windows, kPlanes}, {windows, kPlanes}, {g, kPlanes}};
  };
  for_each_block<sum_t>(g, images, scratch, [&](Block& own, Group group) {
    const SoftUnpool<scalar_t> block{g, group.images, own.what.read(all.what, group), own.where.read(all.where, group)};
    own.map.write(map, group, [&](const auto& target, auto... place) { block.row(target, place...); });
  });
}

Tensor soft_argmax_unpool2d_cpu(const Tensor& what, const Tensor& where, const Pair& kernel_size, const Pair& stride,
                                const Pair& padding, const Pair& output_size) {
  constexpr const char* op = "soft_argmax_unpool2d";
  check_4d(op, "what", what);
  const Geometry g = unpool_geometry(op, what, kernel_size, stride, padding, {1, 1}, output_size);
  const MemoryFormat layout = memory_format_of(what);
  Tensor map = allocate({what.size(0), what.size(1), g.h.input, g.w.input}, what.scalar_type(), layout, what);
  dispatch_floating(op, what, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    check_positions(op, where, what);
    if (map.numel() == 0) return;
    const Tensor values = with_layout(what, layout);
    const Tensor positions = pairs_with_layout(where, layout);
    const Images images(what, layout);
    const SoftUnpool<scalar_t> unpool{g, images.channels, elements<scalar_t>(values),
                                      static_cast<const accumulate_t<scalar_t>*>(positions.const_data_ptr())};
    if (in_blocks<accumulate_t<scalar_t>>(g, images)) {
      return unpool_blocks(g, images, unpool, mutable_elements<scalar_t>(map));
    }
    write_windows<scalar_t>(g, images, mutable_elements<scalar_t>(map),
                            [&](const auto& target, auto... place) { unpool.row(target, place...); });
  });
  return map;
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) { m.impl("soft_argmax_unpool2d", TORCH_BOX(&soft_argmax_unpool2d_cpu)); }

}  // namespace
}  // namespace wwae

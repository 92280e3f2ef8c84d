// max_pool2d: max pooling that returns (values, indices, offsets), all (N, C, OH, OW), in one pass. The kernel is in
// pool.h; here each finished row of offsets, still in the cache, becomes int64 indices h * W + w into the plane.
//
// A window without a real tap has PyTorch's index: its first tap, moved by the dilation until neither coordinate is
// negative.
#include <vector>

#include "common/checks.h"
#include "common/dtype.h"
#include "cpu/pool.h"
#include "cpu/tap_steps.h"

namespace wwae {
namespace {

// Writes the indices of finished outputs; called by pool() with what it has just completed.
template <typename offset_t>
class IndexWriter {
 public:
  IndexWriter(const Geometry& geometry, MemoryFormat layout, const Tensor& offsets, const Tensor& indices)
      : g_(geometry),
        row_of_windows_(layout == MemoryFormat::Contiguous),
        steps_(geometry, geometry.w.input, 1),
        offsets_(static_cast<const offset_t*>(offsets.const_data_ptr())),
        indices_(static_cast<int64_t*>(indices.mutable_data_ptr())) {}

  void operator()(int64_t oh, int64_t ow, int64_t first, int64_t count) const {
    const int64_t step = row_of_windows_ ? g_.w.stride : 0;  // columns from one output to the next
    const int64_t start = g_.h.start(oh) * g_.w.input + g_.w.start(ow);
    for (int64_t i = 0; i < count; ++i) indices_[first + i] = start + i * step + steps_[offsets_[first + i]];
    if (!may_be_windowless_) return;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t window = row_of_windows_ ? ow + i : ow;
      if (windowless(g_.h, oh) || windowless(g_.w, window)) {
        indices_[first + i] = first_tap(g_.h, oh) * g_.w.input + first_tap(g_.w, window);
      }
    }
  }

 private:
  static bool windowless(const Axis& axis, int64_t window) {
    const Range<int64_t> taps = axis.taps(window);
    return taps.begin >= taps.end;
  }

  static int64_t first_tap(const Axis& axis, int64_t window) {
    const int64_t start = axis.start(window);
    return start < 0 ? start + ceil_divide(-start, axis.dilation) * axis.dilation : start;
  }

  Geometry g_;
  bool row_of_windows_;
  // Only a step from the padding over the whole input misses it.
  bool may_be_windowless_ = g_.h.dilation > 1 || g_.w.dilation > 1;
  TapSteps steps_;
  const offset_t* offsets_;
  int64_t* indices_;
};

std::tuple<Tensor, Tensor, Tensor> max_pool2d_cpu(const Tensor& x, const Pair& kernel_size, const Pair& stride,
                                                  const Pair& padding, const Pair& dilation, bool ceil_mode) {
  constexpr const char* op = "max_pool2d";
  check_4d(op, "x", x);
  const Geometry g = pool_geometry(op, x, kernel_size, stride, padding, dilation, ceil_mode);
  const MemoryFormat layout = memory_format_of(x);
  const Sizes output_size = {x.size(0), x.size(1), g.h.output, g.w.output};
  const ScalarType offsets_type = offset_dtype(g.taps());
  Tensor values = allocate(output_size, x.scalar_type(), layout, x);
  Tensor indices = allocate(output_size, ScalarType::Long, layout, x);
  Tensor offsets = allocate(output_size, offsets_type, layout, x);
  dispatch_floating(op, x, [&](auto scalar) {
    dispatch_offset(op, offsets_type, [&](auto offset) {
      using scalar_t = typename decltype(scalar)::type;
      using offset_t = typename decltype(offset)::type;
      if (x.numel() == 0) return;
      const IndexWriter<offset_t> write_indices(g, layout, offsets, indices);
      pool<scalar_t, offset_t>(g, with_layout(x, layout), layout, values, offsets, write_indices);
    });
  });
  return {values, indices, offsets};
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) { m.impl("max_pool2d", TORCH_BOX(&max_pool2d_cpu)); }

}  // namespace
}  // namespace wwae

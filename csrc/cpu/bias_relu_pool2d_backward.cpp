// bias_relu_pool2d_backward: the gradients of the map (N, C, H, W) and of the bias (C), from those of the pooled values
// (N, C, OH, OW). The map is written by relu_pool_backward.h; the bias gets the sum of every gradient that passed ReLU,
// float32 for bfloat16 and float16, added in a fixed order (channel_sums.h).
//
// Bytes moved per pixel, s = element size, o = offset size, A = pixels per window: write s, read (2 s + o) / A, and
// 2 s / A more for the sum.
#include "common/checks.h"
#include "common/dtype.h"
#include "common/parameters.h"
#include "common/relu_pool.h"
#include "cpu/channel_sums.h"
#include "cpu/relu_pool_backward.h"

namespace wwae {
namespace {

// The sum is the gradient.
struct AsIs {
  template <int N, typename Sums>
  Sums channel(int64_t, int64_t, const Sums& sums) const {
    return sums;
  }

  template <int N, typename Sums>
  Sums channels(int64_t, int64_t, const Sums& sums) const {
    return sums;
  }
};

// What passes ReLU in `size` neighbouring windows.
template <typename scalar_t>
double sum_passed(const element_t<scalar_t>* grad, const element_t<scalar_t>* values, int64_t size) {
  using Lanes = Wide<scalar_t, kSumLanes>;
  constexpr int64_t kRun = 64 * kSumLanes;  // a lane adds so few numbers in float32 that its rounding does not show
  double total = 0;
  for (int64_t begin = 0; begin < size; begin += kRun) {
    Lanes sums = Lanes::splat(0);
    const int64_t end = std::min(begin + kRun, size);
    int64_t i = begin;
    const auto add = [&](const Lanes& g, const Lanes& v) {
      for (int p = 0; p < Lanes::kParts; ++p) sums.part[p] += v.part[p] <= 0 ? typename Lanes::Part{} : g.part[p];
    };
    for (; i + kSumLanes <= end; i += kSumLanes) {
      add(Lanes::widened(grad + i), Lanes::widened(values + i));
    }
    if (i < end) {
      element_t<scalar_t> rest[2][kSumLanes] = {};
      std::copy(grad + i, grad + end, rest[0]);
      std::copy(values + i, values + end, rest[1]);
      add(Lanes::widened(rest[0]), Lanes::widened(rest[1]));
    }
    total += sum_of_lanes(sums.part);
  }
  return total;
}

template <typename scalar_t>
std::vector<double> bias_gradient(const Sizes& size, MemoryFormat layout, const element_t<scalar_t>* grad,
                                  const element_t<scalar_t>* values) {
  const int64_t channels = size[1];
  if (layout == MemoryFormat::Contiguous) {
    const int64_t windows = size[2] * size[3];
    return sum_planes(size[0], channels, 1, windows, [&](int64_t p, double* sum) {
      *sum = sum_passed<scalar_t>(grad + p * windows, values + p * windows, windows);
    });
  }
  const int64_t row_size = size[3] * channels;
  return sum_rows(size[0] * size[2], channels, 1, row_size, [&](int64_t row, double* sums) {
    for (int64_t first = row * row_size; first < (row + 1) * row_size; first += channels) {
      int64_t c = 0;
      for (; c + kSumLanes <= channels; c += kSumLanes) {
        using Lanes = Wide<scalar_t, kSumLanes>;
        Lanes passed = Lanes::widened(grad + first + c);
        const Lanes value = Lanes::widened(values + first + c);
        for (int p = 0; p < Lanes::kParts; ++p) {
          passed.part[p] = value.part[p] <= 0 ? typename Lanes::Part{} : passed.part[p];
        }
        add_lanes(passed, sums + c);
      }
      for (; c < channels; ++c) {
        sums[c] += passes<scalar_t>(values[first + c]) ? widen<scalar_t>(grad[first + c]) : 0;
      }
    }
  });
}

std::tuple<Tensor, Tensor> bias_relu_pool2d_backward_cpu(const Tensor& grad, const Tensor& values,
                                                         const Tensor& offsets, const Pair& kernel_size,
                                                         const Pair& stride, const Pair& padding, const Pair& dilation,
                                                         const Pair& input_size) {
  constexpr const char* op = "bias_relu_pool2d_backward";
  const Geometry g =
      check_relu_pool_backward(op, grad, values, offsets, kernel_size, stride, padding, dilation, input_size);
  const MemoryFormat layout = memory_format_of(grad);
  const Sizes size = sizes_of(grad);
  Tensor map = allocate({size[0], size[1], g.h.input, g.w.input}, grad.scalar_type(), layout, grad);
  Tensor bias = allocate_parameter(size[1], accumulation_dtype(grad.scalar_type()), grad);
  const Tensor grad_in_layout = with_layout(grad, layout);
  const Tensor values_in_layout = with_layout(values, layout);
  const Tensor offsets_in_layout = with_layout(offsets, layout);
  dispatch_floating(op, grad, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    const auto* gradient = elements<scalar_t>(grad_in_layout);
    const auto* value = elements<scalar_t>(values_in_layout);
    const std::vector<double> sums = bias_gradient<scalar_t>(size, layout, gradient, value);
    std::copy(sums.begin(), sums.end(), static_cast<accumulate_t<scalar_t>*>(bias.mutable_data_ptr()));
    if (map.numel() == 0) return;
    dispatch_offset(op, offsets.scalar_type(), [&](auto offset) {
      using offset_t = typename decltype(offset)::type;
      const ReLUPoolBackward<scalar_t, offset_t, AsIs> backward{
          g,
          size[0],
          size[1],
          gradient,
          value,
          static_cast<const offset_t*>(offsets_in_layout.const_data_ptr()),
          mutable_elements<scalar_t>(map),
          {}};
      layout == MemoryFormat::Contiguous ? backward.contiguous() : backward.channels_last();
    });
  });
  return {map, bias};
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) {
  m.impl("bias_relu_pool2d_backward", TORCH_BOX(&bias_relu_pool2d_backward_cpu));
}

}  // namespace
}  // namespace wwae

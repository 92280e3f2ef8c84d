// batch_norm_relu_pool2d_backward: the gradients of the map (N, C, H, W), weight and bias (C), from those of the pooled
// values (N, C, OH, OW).
//
// First the two sums over the windows, with x read at the switches; then relu_pool_backward.h writes the map. Of a
// pixel that collects the sum G it makes
//
//   G * scale                                    in evaluation
//   G * scale + ((x - mean) * slope + shift)     in training
//
//   scale = weight / deviation
//   slope = -scale * sum(g (x - mean)) / (deviation^2 N H W)
//   shift = -scale * sum(g) / (N H W)
//
// Bytes moved per pixel, s = element size, o = offset size, A = pixels per window: for the sums read (2 s + o) / A and
// a cache line of x a window; for the map write s, read s and (2 s + o) / A.
#include <cmath>
#include <utility>

#include "common/parameters.h"
#include "common/relu_pool.h"
#include "cpu/channel_sums.h"
#include "cpu/relu_pool_backward.h"

namespace wwae {
namespace {

template <typename scalar_t>
struct Coefficients {
  using sum_t = accumulate_t<scalar_t>;

  std::vector<sum_t> scale;
  std::vector<sum_t> slope;
  std::vector<sum_t> shift;
};

template <typename scalar_t, bool training>
struct Normalised {
  using sum_t = accumulate_t<scalar_t>;

  const element_t<scalar_t>* x;  // as the map
  const sum_t* mean;  // (C)
  const Coefficients<scalar_t>& coefficients;

  template <int N, typename Sums>
  Sums channel(int64_t c, int64_t at, const Sums& sums) const {
    const auto all = [&](sum_t value) { return Sums::splat(value); };
    return gradient(at, sums, all(coefficients.scale[c]), all(coefficients.slope[c]), all(coefficients.shift[c]),
                    all(mean[c]));
  }

  template <int N, typename Sums>
  Sums channels(int64_t c, int64_t at, const Sums& sums) const {
    const auto from = [&](const sum_t* values) { return Sums::load_from(values + c); };
    return gradient(at, sums, from(coefficients.scale.data()), from(coefficients.slope.data()),
                    from(coefficients.shift.data()), from(mean));
  }

 private:
  template <typename Sums>
  Sums gradient(int64_t at, Sums sums, const Sums& scale, const Sums& slope, const Sums& shift,
                const Sums& centre) const {
    for (int p = 0; p < Sums::kParts; ++p) sums.part[p] *= scale.part[p];
    if constexpr (training) {
      const Sums map = Sums::widened(x + at);
      for (int p = 0; p < Sums::kParts; ++p) {
        sums.part[p] += (map.part[p] - centre.part[p]) * slope.part[p] + shift.part[p];
      }
    }
    return sums;
  }
};

// What the windows of a channel add up to: the gradients that pass, and those times the distance of x from the mean.
template <typename scalar_t, typename offset_t>
struct WindowSums {
  using element = element_t<scalar_t>;
  using sum_t = accumulate_t<scalar_t>;

  const Geometry& g;
  int64_t channels;
  const element* grad;  // (N, C, OH, OW), as are values and offsets
  const element* values;
  const offset_t* offsets;
  const element* x;  // (N, C, H, W)
  const accumulate_t<scalar_t>* mean;

  std::vector<double> run(const Sizes& size, MemoryFormat layout) const {
    const int64_t windows = g.h.output * g.w.output;
    const int64_t pixels = g.h.input * g.w.input;
    const Range<int64_t> whole = g.w.whole_windows();
    if (layout == MemoryFormat::Contiguous) {
      const TapTable taps(g, g.w.input, 1);
      return sum_planes(size[0], channels, 2, windows, [&](int64_t p, double* sums) {
        double totals[2] = {0, 0};
        const Lanes centre = Lanes::splat(mean[p % channels]);
        Lanes passed = Lanes::splat(0);
        Lanes moment = Lanes::splat(0);
        int64_t added = 0;  // chunks since the lanes were emptied
        const auto empty_lanes = [&] {
          totals[0] += sum_of_lanes(passed.part);
          totals[1] += sum_of_lanes(moment.part);
          passed = moment = Lanes::splat(0);
          added = 0;
        };
        for (int64_t oh = 0; oh < g.h.output; ++oh) {
          const int64_t first = p * windows + oh * g.w.output;
          const element* corner = x + p * pixels + g.h.start(oh) * g.w.input - g.w.padding;
          int64_t ow = 0;
          if (is_whole(oh)) {
            for (; ow < whole.begin; ++ow)
              add(taps, oh, ow, first + ow, x + p * pixels, 1, mean[p % channels], totals, 1);
            while (ow < whole.end) {
              element near[kSumLanes] = {};
              const int64_t n = std::min<int64_t>(kSumLanes, whole.end - ow);
              if (!read(taps, first + ow, corner + ow * g.w.stride, g.w.stride, n, near)) break;
              const auto [own, product] = weigh_some(first + ow, n, size[0] * channels * windows, near, centre);
              for (int i = 0; i < Lanes::kParts; ++i) {
                passed.part[i] += own.part[i];
                moment.part[i] += product.part[i];
              }
              ow += n;
              if (++added == kMostAdded) empty_lanes();
            }
          }
          for (; ow < g.w.output; ++ow) add(taps, oh, ow, first + ow, x + p * pixels, 1, mean[p % channels], totals, 1);
        }
        empty_lanes();
        std::copy(totals, totals + 2, sums);
      });
    }
    const TapTable taps(g, g.w.input * channels, channels);
    const int64_t row_size = g.w.output * channels;
    return sum_rows(size[0] * g.h.output, channels, 2, row_size, [&](int64_t row, double* sums) {
      const int64_t oh = row % g.h.output;
      const element* image = x + row / g.h.output * pixels * channels;
      for (int64_t ow = 0; ow < g.w.output; ++ow) {
        const int64_t first = row * row_size + ow * channels;
        const element* corner = image + (g.h.start(oh) * g.w.input + g.w.start(ow)) * channels;
        int64_t c = 0;
        if (is_whole(oh) && ow >= whole.begin && ow < whole.end) {
          for (; c + kSumLanes <= channels; c += kSumLanes) {
            element near[kSumLanes];
            if (!read(taps, first + c, corner + c, 1, kSumLanes, near)) break;
            const auto [own, product] = weigh(grad + first + c, values + first + c, near, Lanes::load_from(mean + c));
            add_lanes(own, sums + c);
            add_lanes(product, sums + channels + c);
          }
        }
        for (; c < channels; ++c) add(taps, oh, ow, first + c, image + c, channels, mean[c], sums + c, channels);
      }
    });
  }

 private:
  using Lanes = Wide<scalar_t, kSumLanes>;
  // A lane adds so few numbers in float32 that its rounding does not show.
  static constexpr int64_t kMostAdded = 64;

  // Whether all taps down of the windows `oh` are real.
  bool is_whole(int64_t oh) const { return g.h.start(oh) >= 0 && g.h.start(oh) + g.h.extent() <= g.h.input; }

  // The pixels that `n` windows from `at` on point at, none of which leaves x; their first taps stand at `corner` in
  // steps of `step`. False where a switch names no tap.
  bool read(const TapTable& taps, int64_t at, const element* corner, int64_t step, int64_t n, element* near) const {
    const int64_t* steps = taps.steps();
    const auto size = static_cast<uint64_t>(taps.size());
    bool named = true;
    for (int64_t i = 0; i < n; ++i) {
      const auto offset = static_cast<uint64_t>(static_cast<int64_t>(offsets[at + i]));
      named &= offset < size;
      near[i] = corner[i * step + steps[offset < size ? offset : 0]];
    }
    return named;
  }

  // What passes of kSumLanes windows, and that times the distance of their pixels from the mean.
  static std::pair<Lanes, Lanes> weigh(const element* grad, const element* values, const element* near,
                                       const Lanes& centre) {
    Lanes own = Lanes::widened(grad);
    const Lanes value = Lanes::widened(values);
    Lanes product = Lanes::widened(near);
    for (int p = 0; p < Lanes::kParts; ++p) {
      const typename Lanes::Part zero{};
      own.part[p] = value.part[p] <= 0 ? zero : own.part[p];
      product.part[p] = own.part[p] == 0 ? zero : own.part[p] * (product.part[p] - centre.part[p]);
    }
    return {own, product};
  }

  // The same of `n` windows from `at` on, nothing in the other lanes; there are `all` windows in memory.
  std::pair<Lanes, Lanes> weigh_some(int64_t at, int64_t n, int64_t all, const element* near,
                                     const Lanes& centre) const {
    if (n == kSumLanes) return weigh(grad + at, values + at, near, centre);
    element copies[2][kSumLanes] = {};
    const element *gradients = grad + at, *pooled = values + at;
    if (at + kSumLanes > all) {
      std::copy_n(gradients, n, copies[0]);
      std::copy_n(pooled, n, copies[1]);
      gradients = copies[0];
      pooled = copies[1];
    }
    auto [own, product] = weigh(gradients, pooled, near, centre);
    sum_t lane = 0;
    for (int p = 0; p < Lanes::kParts; ++p) {
      typename Lanes::Part zero{}, number{};
      if constexpr (Lanes::kLanesOfPart == 1) {
        number = lane++;
      } else {
        for (int i = 0; i < Lanes::kLanesOfPart; ++i) number[i] = lane++;
      }
      own.part[p] = number < static_cast<sum_t>(n) ? own.part[p] : zero;
      product.part[p] = number < static_cast<sum_t>(n) ? product.part[p] : zero;
    }
    return {own, product};
  }

  // Adds window (oh, ow), which stands at `at`, to sums[0] and sums[next]; `plane` is read in steps of `step`. A
  // gradient of 0 has no part, whatever x is.
  void add(const TapTable& taps, int64_t oh, int64_t ow, int64_t at, const element* plane, int64_t step, double centre,
           double* sums, int64_t next) const {
    if (!passes<scalar_t>(values[at])) return;
    const double gradient = widen<scalar_t>(grad[at]);
    sums[0] += gradient;
    if (gradient == 0 || !taps.contains(offsets[at])) return;
    const Tap& tap = taps[offsets[at]];
    const int64_t h = g.h.start(oh) + tap.row;
    const int64_t w = g.w.start(ow) + tap.column;
    if (!g.h.contains(h) || !g.w.contains(w)) return;
    sums[next] += gradient * (widen<scalar_t>(plane[(h * g.w.input + w) * step]) - centre);
  }
};

std::tuple<Tensor, Tensor, Tensor> batch_norm_relu_pool2d_backward_cpu(const Tensor& grad, const Tensor& values,
                                                                       const Tensor& offsets, const Tensor& x,
                                                                       const Tensor& mean, const Tensor& variance,
                                                                       const Tensor& weight, bool training, double eps,
                                                                       const Pair& kernel_size, const Pair& stride,
                                                                       const Pair& padding, const Pair& dilation) {
  constexpr const char* op = "batch_norm_relu_pool2d_backward";
  check_batch_norm_backward(op, grad, x, mean, variance, weight);
  const Geometry g = check_relu_pool_backward(op, grad, values, offsets, kernel_size, stride, padding, dilation,
                                              {x.size(2), x.size(3)});
  const MemoryFormat layout = memory_format_of(grad);
  const int64_t channels = x.size(1);
  const ScalarType wide = accumulation_dtype(x.scalar_type());
  Tensor map = allocate(sizes_of(x), x.scalar_type(), layout, grad);
  Tensor grad_weight = allocate_parameter(channels, wide, grad);
  Tensor grad_bias = allocate_parameter(channels, wide, grad);
  const Tensor inputs[] = {with_layout(grad, layout), with_layout(values, layout), with_layout(offsets, layout),
                           with_layout(x, layout)};
  const Tensor parameters[] = {parameter_as(mean, wide), parameter_as(variance, wide), parameter_as(weight, wide)};
  dispatch_floating(op, grad, [&](auto scalar) {
    using scalar_t = typename decltype(scalar)::type;
    using sum_t = accumulate_t<scalar_t>;
    const auto* gradient = elements<scalar_t>(inputs[0]);
    const auto* value = elements<scalar_t>(inputs[1]);
    const auto* pixel = elements<scalar_t>(inputs[3]);
    const auto numbers = [&](int i) { return static_cast<const sum_t*>(parameters[i].const_data_ptr()); };
    dispatch_offset(op, offsets.scalar_type(), [&](auto offset) {
      using offset_t = typename decltype(offset)::type;
      const auto* where = static_cast<const offset_t*>(inputs[2].const_data_ptr());
      const WindowSums<scalar_t, offset_t> windows{g, channels, gradient, value, where, pixel, numbers(0)};
      const std::vector<double> sums = windows.run(sizes_of(grad), layout);
      Coefficients<scalar_t> coefficients;
      const double count = static_cast<double>(x.size(0) * x.size(2) * x.size(3));
      for (int64_t c = 0; c < channels; ++c) {
        const double passed = sums[c];
        const double moment = sums[channels + c];
        // An empty batch has no variance; its gradients are 0.
        const double deviation = x.numel() == 0 ? 1 : std::sqrt(static_cast<double>(numbers(1)[c]) + eps);
        const double scale = numbers(2)[c] / deviation;
        coefficients.scale.push_back(static_cast<sum_t>(scale));
        coefficients.slope.push_back(static_cast<sum_t>(-scale * moment / (deviation * deviation * count)));
        coefficients.shift.push_back(static_cast<sum_t>(-scale * passed / count));
        static_cast<sum_t*>(grad_weight.mutable_data_ptr())[c] = static_cast<sum_t>(moment / deviation);
        static_cast<sum_t*>(grad_bias.mutable_data_ptr())[c] = static_cast<sum_t>(passed);
      }
      if (map.numel() == 0) return;
      const auto write = [&](auto finish) {
        const ReLUPoolBackward<scalar_t, offset_t, decltype(finish)> backward{
            g, x.size(0), channels, gradient, value, where, mutable_elements<scalar_t>(map), finish};
        layout == MemoryFormat::Contiguous ? backward.contiguous() : backward.channels_last();
      };
      if (training) {
        write(Normalised<scalar_t, true>{pixel, numbers(0), coefficients});
      } else {
        write(Normalised<scalar_t, false>{pixel, numbers(0), coefficients});
      }
    });
  });
  return {map, grad_weight, grad_bias};
}

STABLE_TORCH_LIBRARY_IMPL(wwae, CPU, m) {
  m.impl("batch_norm_relu_pool2d_backward", TORCH_BOX(&batch_norm_relu_pool2d_backward_cpu));
}

}  // namespace
}  // namespace wwae

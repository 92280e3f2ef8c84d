// What the taps of a window go through before pooling compares them.
//
// An activation gives functions of N elements: `channels<N>(c)` for elements of the channels c .. c + N - 1, and
// `channel<N>(c)` for elements that all belong to channel c. Both compute in float32 for 16-bit elements and round
// once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "cpu/accumulate.h"
#include "cpu/lanes.h"

namespace wwae {

struct Identity {
  template <int N>
  auto channels(int64_t) const {
    return [](auto tap) { return tap; };
  }

  template <int N>
  auto channel(int64_t) const {
    return [](auto tap) { return tap; };
  }
};

// N lanes of the accumulation type as whole registers: twice as many as the 16-bit elements fill. The compiler breaks
// wider vectors up lane by lane.
template <typename scalar_t, int N>
struct Wide {
  using element = element_t<scalar_t>;
  using sum_t = accumulate_t<scalar_t>;
  static constexpr int kParts = std::max(1, N* static_cast<int>(sizeof(sum_t)) / kVectorBytes);
  static constexpr int kLanesOfPart = N / kParts;
  using Part = Vector<sum_t, kLanesOfPart>;

  Part part[kParts];

  static Wide load_from(const sum_t* source) {
    Wide wide;
    for (int p = 0; p < kParts; ++p) wide.part[p] = load<kLanesOfPart>(source + p * kLanesOfPart);
    return wide;
  }

  static Wide splat(sum_t value) {
    Wide wide;
    for (int p = 0; p < kParts; ++p) wide.part[p] = broadcast<kLanesOfPart>(value);
    return wide;
  }

  static Wide widened(const element* x) {
    Wide wide;
    for (int p = 0; p < kParts; ++p) {
      wide.part[p] = widen<scalar_t, kLanesOfPart>(load<kLanesOfPart>(x + p * kLanesOfPart));
    }
    return wide;
  }

  sum_t lane(int p, int i) const {
    if constexpr (kLanesOfPart == 1) {
      return part[p];
    } else {
      return part[p][i];
    }
  }

  void round_to(element* x) const {
    for (int p = 0; p < kParts; ++p) {
      store<kLanesOfPart>(x + p * kLanesOfPart, narrow<scalar_t, kLanesOfPart>(part[p]));
    }
  }
};

// Half `half` (0 or 1) of x, and a vector of two halves, in registers: a load that spans two stores would wait for
// both.
template <int half, typename T, int N, size_t... lane>
Vector<T, N / 2> half_of(Vector<T, N> x, std::index_sequence<lane...>) {
#if __has_builtin(__builtin_shufflevector)
  return __builtin_shufflevector(x, x, (half * N / 2 + lane)...);
#else
  return Vector<T, N / 2>{x[half * N / 2 + lane]...};
#endif
}

template <typename T, int N, size_t... lane>
Vector<T, 2 * N> join(Vector<T, N> low, Vector<T, N> high, std::index_sequence<lane...>) {
#if __has_builtin(__builtin_shufflevector)
  return __builtin_shufflevector(low, high, lane...);
#else
  return Vector<T, 2 * N>{(lane < N ? low[lane % N] : high[lane % N])...};
#endif
}

// `body(part, number)` of every part of x, of which there are at most two, rounded.
template <typename scalar_t, int N, typename Body>
Vector<element_t<scalar_t>, N> in_parts(Vector<element_t<scalar_t>, N> x, const Body& body) {
  using element = element_t<scalar_t>;
  if constexpr (Wide<scalar_t, N>::kParts == 1) {
    return narrow<scalar_t, N>(body(widen<scalar_t, N>(x), 0));
  } else {
    constexpr int M = N / 2;
    static_assert(Wide<scalar_t, N>::kParts == 2);
    const auto low = widen<scalar_t, M>(half_of<0, element, N>(x, std::make_index_sequence<M>{}));
    const auto high = widen<scalar_t, M>(half_of<1, element, N>(x, std::make_index_sequence<M>{}));
    return join<element, M>(narrow<scalar_t, M>(body(low, 0)), narrow<scalar_t, M>(body(high, 1)),
                            std::make_index_sequence<N>{});
  }
}

// x where it is positive or NaN, else +0.
template <typename V>
V relu(V x) {
  return x <= 0 ? V{} : x;
}

// relu(x + bias).
template <typename scalar_t>
struct BiasReLU {
  using sum_t = accumulate_t<scalar_t>;

  const sum_t* bias;  // (C)

  template <int N>
  auto channels(int64_t c) const {
    return function(Wide<scalar_t, N>::load_from(bias + c));
  }

  template <int N>
  auto channel(int64_t c) const {
    return function(Wide<scalar_t, N>::splat(bias[c]));
  }

 private:
  template <int N>
  static auto function(const Wide<scalar_t, N>& bias) {
    return [bias](Vector<element_t<scalar_t>, N> tap) {
      return in_parts<scalar_t, N>(tap, [&](auto x, int p) { return relu(x + bias.part[p]); });
    };
  }
};

// relu((x - mean) * scale + bias): with a large mean, better than a multiple of x and a large number.
template <typename scalar_t>
struct BatchNormReLU {
  using sum_t = accumulate_t<scalar_t>;

  const sum_t* mean;  // (C), as are scale and bias
  const sum_t* scale;
  const sum_t* bias;

  template <int N>
  auto channels(int64_t c) const {
    using Lanes = Wide<scalar_t, N>;
    return function<N>(Lanes::load_from(mean + c), Lanes::load_from(scale + c), Lanes::load_from(bias + c));
  }

  template <int N>
  auto channel(int64_t c) const {
    using Lanes = Wide<scalar_t, N>;
    return function<N>(Lanes::splat(mean[c]), Lanes::splat(scale[c]), Lanes::splat(bias[c]));
  }

 private:
  template <int N>
  static auto function(const Wide<scalar_t, N>& mean, const Wide<scalar_t, N>& scale, const Wide<scalar_t, N>& bias) {
    return [mean, scale, bias](Vector<element_t<scalar_t>, N> tap) {
      return in_parts<scalar_t, N>(
          tap, [&](auto x, int p) { return relu((x - mean.part[p]) * scale.part[p] + bias.part[p]); });
    };
  }
};

}  // namespace wwae

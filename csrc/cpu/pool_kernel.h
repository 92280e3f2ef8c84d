// The kernel of every hard pooling: max pooling that writes values, offsets and, if asked, int64 indices in one pass,
// and puts each tap through an activation (activation.h) before it compares it.
//
// Contiguous, work item = one row of windows of one plane, vector lanes = windows (pool_plane.h), or, where rows are
// short, a block of planes (plane_blocks.h). Channels-last, work item = a row of windows of one image, vector lanes =
// channels, tap after tap (below); where an activation rounds, it goes over the rows first (activated_rows.h).
//
// Bytes moved per window, s = element size, o = offset size: read KH * KW * s when windows do not overlap, write s + o,
// and 8 more with indices, which are made from the offsets while those are still in the cache.
#pragma once

#include <algorithm>
#include <vector>

#include "common/dtype.h"
#include "cpu/activated_rows.h"
#include "cpu/activation.h"
#include "cpu/index_writer.h"
#include "cpu/lanes.h"
#include "cpu/plane_blocks.h"
#include "cpu/pool_plane.h"
#include "cpu/tasks.h"

namespace wwae {

// Whether the sum of all lanes is NaN: it is where one of them is, and may be where there are infinities.
template <typename T, int N>
bool sums_to_nan(Vector<T, N> x) {
  if constexpr (N == 1) {
    return x != x;
  } else if constexpr (N == 2) {
    return sums_to_nan<T, 1>(x[0] + x[1]);
  } else {
    constexpr auto lanes = std::make_index_sequence<N / 2>{};
    return sums_to_nan<T, N / 2>(half_of<0, T, N>(x, lanes) + half_of<1, T, N>(x, lanes));
  }
}

// All channels of one window of a channels-last image (H, W, C); `rows` and `columns` are its real taps, `row` is the
// row of the first of them, `channel` what the activation calls the first channel.
template <typename scalar_t, typename offset_t, typename Activation>
void pool_pixel(const Geometry& g, const Activation& activation, const element_t<scalar_t>* row, int64_t channels,
                int64_t channel, int64_t ow, Range<int64_t> rows, Range<int64_t> columns, element_t<scalar_t>* values,
                offset_t* offsets) {
  using E = Element<scalar_t>;
  using element = typename E::type;
  using lane_t = offset_lane_t<element, offset_t>;
  if (rows.begin >= rows.end || columns.begin >= columns.end) {
    std::fill_n(values, channels, E::kLowest);
    std::fill_n(offsets, channels, offset_t{0});
    return;
  }
  const int64_t row_step = g.h.dilation * g.w.input * channels;
  const int64_t column_step = g.w.dilation * channels;
  const int64_t first_tap = rows.begin * g.w.kernel + columns.begin;
  const element* first = row + g.w.position(ow, columns.begin) * channels;
  // Several vectors at a time, so that a tap reads whole neighbouring cache lines.
  for_offset_chunks<element, offset_t, 4>(channels, [&](auto width, int64_t i) {
    constexpr int U = vectors_in<element>(width);
    constexpr int N = width / U;
    Vector<element, N> best[U];
    Vector<lane_t, N> offset[U];
    // All taps. Unless `careful`, no NaN wins: instead of asking each tap, their sum tells in the end whether there may
    // be one, which is the result.
    const auto pass = [&](auto careful) {
      Vector<key_t<element>, N> best_key[U];
      Vector<key_t<element>, N> sum[U]{};
      for (int u = 0; u < U; ++u) {
        best[u] = activation.template channels<N>(channel + i + u * N)(load<N>(first + i + u * N));
        best_key[u] = sum[u] = E::key(best[u]);
        offset[u] = broadcast<N>(static_cast<lane_t>(first_tap));
      }
      for (int64_t r = 0; r < rows.end - rows.begin; ++r) {
        const element* x = first + r * row_step + i;
        const int64_t tap = first_tap + r * g.w.kernel;
        for (int64_t c = r == 0 ? 1 : 0; c < columns.end - columns.begin; ++c) {
#pragma GCC unroll 4
          for (int u = 0; u < U; ++u) {
            const element* source = x + c * column_step + u * N;
            const Vector<element, N> value = activation.template channels<N>(channel + i + u * N)(load<N>(source));
            prefetch_ahead(source);
            const Vector<key_t<element>, N> key = E::key(value);
            const auto better = [&] {
              if constexpr (careful) {
                return E::beats(key, best_key[u]);
              } else {
                return key > best_key[u];
              }
            }();
            if constexpr (!careful) sum[u] += key;
            best[u] = better ? value : best[u];
            best_key[u] = better ? key : best_key[u];
            offset[u] = better ? broadcast<N>(static_cast<lane_t>(tap + c)) : offset[u];
          }
        }
      }
      if constexpr (careful) {
        return false;
      } else {
        for (int u = 1; u < U; ++u) sum[0] += sum[u];
        return sums_to_nan<key_t<element>, N>(sum[0]);
      }
    };
    if constexpr (std::is_floating_point_v<element>) {
      if (pass(std::false_type())) pass(std::true_type());
    } else {
      pass(std::true_type());
    }
    for (int u = 0; u < U; ++u) {
      store<N>(values + i + u * N, best[u]);
      store<N>(offsets + i + u * N, convert<offset_t, lane_t, N>(offset[u]));
    }
  });
}

// The positions from the first of the real taps of a window to the last one; none without a real tap.
inline Range<int64_t> positions(const Axis& axis, int64_t window, Range<int64_t> taps) {
  if (taps.begin >= taps.end) return {0, 0};
  return {axis.position(window, taps.begin), axis.position(window, taps.end - 1) + 1};
}

inline std::vector<Range<int64_t>> real_taps(const Axis& axis) {
  std::vector<Range<int64_t>> taps(axis.output);
  for (int64_t window = 0; window < axis.output; ++window) taps[window] = axis.taps(window);
  return taps;
}

// A row of windows of a whole block of planes (H, W, N): as pool_pixel, with nothing to work out for each window.
template <int N, typename scalar_t, typename Activation>
void pool_block_row(const Geometry& g, const Activation& activation, const element_t<scalar_t>* image, int64_t channel,
                    int64_t oh, Range<int64_t> rows, const std::vector<Range<int64_t>>& columns,
                    element_t<scalar_t>* values, uint8_t* offsets) {
  using E = Element<scalar_t>;
  using element = typename E::type;
  using lane_t = offset_lane_t<element, uint8_t>;
  const auto activate = activation.template channels<N>(channel);
  const int64_t row_step = g.h.dilation * g.w.input * N;
  const int64_t column_step = g.w.dilation * N;
  const element* first = image + (g.h.start(oh) * g.w.input + g.w.start(0)) * N;
  for (int64_t ow = 0; ow < g.w.output; ++ow, first += g.w.stride * N, values += N, offsets += N) {
    const Range<int64_t> real = columns[ow];
    Vector<element, N> best = broadcast<N>(E::kLowest);
    Vector<lane_t, N> offset{};
    if (rows.begin < rows.end && real.begin < real.end) {
      best = activate(load<N>(first + rows.begin * row_step + real.begin * column_step));
      offset += static_cast<lane_t>(rows.begin * g.w.kernel + real.begin);
      Vector<key_t<element>, N> best_key = E::key(best);
      for (int64_t r = rows.begin; r < rows.end; ++r) {
        const element* x = first + r * row_step;
        const auto tap = static_cast<lane_t>(r * g.w.kernel);
        for (int64_t c = real.begin + (r == rows.begin); c < real.end; ++c) {
          const Vector<element, N> value = activate(load<N>(x + c * column_step));
          const Vector<key_t<element>, N> key = E::key(value);
          const auto better = E::beats(key, best_key);
          best = better ? value : best;
          best_key = better ? key : best_key;
          offset = better ? broadcast<N>(static_cast<lane_t>(tap + c)) : offset;
        }
      }
    }
    store<N>(values, best);
    store<N>(offsets, convert<uint8_t, lane_t, N>(offset));
  }
}

// Whether contiguous planes are taken in blocks: rows are too short to fill vectors, and maps stay in the first caches.
template <typename element>
bool pool_in_blocks(const Geometry& g, int64_t channels) {
  constexpr int64_t kBytes = 256 * 1024;
  return g.w.output < kLanes<float> && channels >= kLanes<element> && g.h.input * g.w.input * kVectorBytes <= kBytes;
}

// Contiguous planes, blocks of them, which never span two images.
template <typename scalar_t, typename Activation>
void pool_blocks(const Geometry& g, const Activation& activation, int64_t batch, int64_t channels,
                 const std::vector<Range<int64_t>>& rows, const std::vector<Range<int64_t>>& columns,
                 const element_t<scalar_t>* x, element_t<scalar_t>* values, uint8_t* offsets,
                 const IndexWriter<uint8_t>& writer) {
  using element = element_t<scalar_t>;
  constexpr int64_t kPlanes = kLanes<element>;
  const int64_t pixels = g.h.input * g.w.input, windows = g.h.output * g.w.output;
  const int64_t blocks = ceil_divide(channels, kPlanes);
  const std::vector<int64_t> corners = writer.corners();
  parallel_for(0, batch * blocks, grain_size(kPlanes * pixels), [&](int64_t begin, int64_t end) {
    BlockOf<element> map(pixels, kPlanes), best(windows, kPlanes);
    BlockOf<uint8_t> where(windows, kPlanes);
    for_each_item(begin, end, blocks, [&](int64_t n, int64_t number) {
      const int64_t channel = number * kPlanes;
      const Group group = {n * channels + channel, std::min(kPlanes, channels - channel)};
      const element* image = map.read(x, group);
      for (int64_t oh = 0; oh < g.h.output; ++oh) {
        if (group.images == kPlanes) {
          const int64_t first = oh * g.w.output * kPlanes;
          pool_block_row<kPlanes, scalar_t>(g, activation, image, channel, oh, rows[oh], columns, best.data() + first,
                                            where.data() + first);
          continue;
        }
        for (int64_t ow = 0; ow < g.w.output; ++ow) {
          const int64_t first = (oh * g.w.output + ow) * group.images;
          pool_pixel<scalar_t, uint8_t>(
              g, activation, image + positions(g.h, oh, rows[oh]).begin * g.w.input * group.images, group.images,
              channel, ow, rows[oh], columns[ow], best.data() + first, where.data() + first);
        }
      }
      best.write(values, group);
      where.write(offsets, group);
      for (int64_t i = 0; i < group.images; ++i) writer.write_plane(corners, (group.first + i) * windows);
    });
  });
}

template <typename scalar_t, typename offset_t, typename Activation>
void pool_as(const Geometry& g, const Activation& activation, const Tensor& x, MemoryFormat layout,
             const Tensor& values, const Tensor& offsets, const Tensor* indices) {
  const int64_t batch = x.size(0);
  const int64_t channels = x.size(1);
  const auto* input = elements<scalar_t>(x);
  auto* value = mutable_elements<scalar_t>(values);
  auto* offset = static_cast<offset_t*>(offsets.mutable_data_ptr());
  const int64_t map = g.h.input * g.w.input;
  const IndexWriter<offset_t> writer(g, layout, offsets, indices);

  const std::vector<Range<int64_t>> rows = real_taps(g.h);
  const std::vector<Range<int64_t>> columns = real_taps(g.w);
  if constexpr (sizeof(offset_t) == 1) {
    if (layout == MemoryFormat::Contiguous && pool_in_blocks<element_t<scalar_t>>(g, channels)) {
      return pool_blocks<scalar_t>(g, activation, batch, channels, rows, columns, input, value, offset, writer);
    }
  }
  if (layout == MemoryFormat::Contiguous) {
    const int64_t planes = batch * channels;
    parallel_for(0, planes * g.h.output, grain_size(g.h.kernel * g.w.input), [&](int64_t begin, int64_t end) {
      PlanePool<scalar_t, offset_t, Activation> plane(g, columns, activation);
      for_each_item(begin, end, g.h.output, [&](int64_t p, int64_t oh) {
        const int64_t first = (p * g.h.output + oh) * g.w.output;
        plane.row(input + p * map, p % channels, rows[oh], oh, value + first, offset + first);
        writer.write(oh, 0, first, g.w.output);
      });
    });
    return;
  }
  const auto pool_rows = [&](const auto& applied, const auto& make_rows) {
    const int64_t row_size = g.w.output * channels;
    parallel_for(0, batch * g.h.output, grain_size(g.taps() * row_size), [&](int64_t begin, int64_t end) {
      auto rows_of = make_rows();
      for_each_item(begin, end, g.h.output, [&](int64_t n, int64_t oh) {
        const element_t<scalar_t>* row = rows_of(n, positions(g.h, oh, rows[oh]));
        for (int64_t ow = 0; ow < g.w.output; ++ow) {
          const int64_t first = (n * g.h.output + oh) * row_size + ow * channels;
          pool_pixel<scalar_t, offset_t>(g, applied, row, channels, 0, ow, rows[oh], columns[ow], value + first,
                                         offset + first);
          writer.write(oh, ow, first, channels);
        }
      });
    });
  };
  if constexpr (std::is_same_v<Activation, Identity> || kSumsAreElements<scalar_t>) {
    pool_rows(activation, [&] {
      return [&](int64_t n, Range<int64_t> needed) { return input + (n * map + needed.begin * g.w.input) * channels; };
    });
  } else {
    pool_rows(Identity(), [&] {
      return [kept = ActivatedRows<scalar_t, Activation>(g, activation, input, channels)](
                 int64_t n, Range<int64_t> needed) mutable { return kept.get(n, needed); };
    });
  }
}

// Pools x (N, C, H, W) into values, offsets and, unless null, indices: (N, C, OH, OW), allocated in the layout of x.
// `make_activation(TypeTag<scalar_t>)` gives what the taps go through.
//
// Per window: the first maximum in raster order and its offset r * KW + c; the last NaN where there is one; -inf and
// the first real tap for a window of -inf; -inf and 0 for a window without a real tap.
template <typename MakeActivation>
void pool(const char* op, const Geometry& g, const Tensor& x, const Tensor& values, const Tensor& offsets,
          const Tensor* indices, const MakeActivation& make_activation) {
  if (x.numel() == 0) return;
  const MemoryFormat layout = memory_format_of(x);
  dispatch_floating(op, x, [&](auto scalar) {
    const auto activation = make_activation(scalar);
    dispatch_offset(op, offsets.scalar_type(), [&](auto offset) {
      using scalar_t = typename decltype(scalar)::type;
      using offset_t = typename decltype(offset)::type;
      pool_as<scalar_t, offset_t>(g, activation, with_layout(x, layout), layout, values, offsets, indices);
    });
  });
}

}  // namespace wwae

// Windows that lose their pixel to a later one in raster order, found from the switches alone: two windows point at the
// same pixel exactly when their offsets are one of a few pairs, which depend on how far apart the windows are.
// Comparing bytes for each pair decides 64 windows at a time; no pixel has to be marked.
//
// A band of rows of windows is copied with a margin on the right and below that names no tap, so that a window on the
// border finds no rival there, and is then one run of bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "common/geometry.h"
#include "cpu/lanes.h"

namespace wwae {

// A tap of a window and the tap of a later window, `down` rows and `across` columns on, that stands at the same pixel.
struct Rival {
  uint8_t tap;
  uint8_t other;
  int64_t down;
  int64_t across;
};

class Rivals {
 public:
  // Above this, marking pixels is faster: 3x3/1 windows have 36 pairs, 3x3/2 windows 8.
  static constexpr size_t kMost = 48;
  // The offset of a window that loses its pixel: no tap of windows of at most this many taps has it.
  static constexpr uint8_t kNone = 255;

  explicit Rivals(const Geometry& g)
      : taps_(g.taps()), rows_((g.h.extent() - 1) / g.h.stride), columns_((g.w.extent() - 1) / g.w.stride) {
    for (int64_t down = 0; down <= rows_ && few(); ++down) {
      for (int64_t across = down == 0 ? 1 : -columns_; across <= columns_ && few(); ++across) add(g, down, across);
    }
  }

  bool few() const { return taps_ <= kNone && list_.size() <= kMost; }

  auto begin() const { return list_.begin(); }
  auto end() const { return list_.end(); }

  // How far away a rival can be.
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }

 private:
  void add(const Geometry& g, int64_t down, int64_t across) {
    for (int64_t r = 0; r < g.h.kernel && few(); ++r) {
      const int64_t other_r = g.h.tap_at(down, g.h.position(0, r));
      for (int64_t c = 0; c < g.w.kernel && other_r >= 0 && few(); ++c) {
        const int64_t other_c = g.w.tap_at(across, g.w.position(0, c));
        if (other_c < 0) continue;
        const auto offset = [&](int64_t row, int64_t column) {
          return static_cast<uint8_t>(row * g.w.kernel + column);
        };
        list_.push_back({offset(r, c), offset(other_r, other_c), down, across});
      }
    }
  }

  int64_t taps_;
  int64_t rows_;
  int64_t columns_;
  std::vector<Rival> list_;
};

// The switches of a band of rows, without those of the windows that lose. One object per thread.
class Winners {
 public:
  // `height` rows of `width` windows of `channels` channels an image.
  Winners(const Rivals& rivals, int64_t height, int64_t width, int64_t channels)
      : rivals_(rivals),
        height_(height),
        row_size_(width * channels),
        pitch_((width + rivals.columns()) * channels),
        band_(std::clamp<int64_t>(kBand / pitch_, 1, height)),
        copy_((band_ + rivals.rows()) * pitch_ + rivals.columns() * channels, Rivals::kNone),
        kept_(band_ * pitch_) {
    for (const Rival& rival : rivals) distances_.push_back(rival.down * pitch_ + rival.across * channels);
  }

  // Rows that are looked at together.
  int64_t band() const { return band_; }
  // Distance of the rows of what `find` returns.
  int64_t pitch() const { return pitch_; }

  // `offsets`: an image (height, width, channels); `rows`: at most `band()` of its rows.
  const uint8_t* find(const uint8_t* offsets, Range<int64_t> rows) {
    const int64_t last = std::min(rows.end + rivals_.rows(), height_);
    for (int64_t row = rows.begin; row < last; ++row) {
      std::memcpy(copy_.data() + (row - rows.begin) * pitch_, offsets + row * row_size_, row_size_);
    }
    std::fill(copy_.data() + (last - rows.begin) * pitch_, copy_.data() + copy_.size(), Rivals::kNone);
    for_chunks<kVectorBytes>((rows.end - rows.begin) * pitch_, [&](auto width, int64_t i) {
      constexpr int N = width;
      const uint8_t* window = copy_.data() + i;
      Vector<uint8_t, N> kept = load<N>(window);
      const Vector<uint8_t, N> offset = kept;
      const int64_t* distance = distances_.data();
      for (const Rival& rival : rivals_) {
        const Vector<uint8_t, N> other = load<N>(window + *distance++);
        kept = (offset == rival.tap) & (other == rival.other) ? broadcast<N>(Rivals::kNone) : kept;
      }
      store<N>(kept_.data() + i, kept);
    });
    return kept_.data();
  }

 private:
  // Bytes of a band: small beside the first-level cache.
  static constexpr int64_t kBand = 4096;

  const Rivals& rivals_;
  int64_t height_;
  int64_t row_size_;
  int64_t pitch_;
  int64_t band_;
  std::vector<int64_t> distances_;
  std::vector<uint8_t> copy_;
  std::vector<uint8_t> kept_;
};

}  // namespace wwae

"""Sums over everything but the channel, in an order that only the shape decides.

A program adds up a strip: in a contiguous map ROWS whole lines, a sum for each line; in a channels_last map STEPS tiles
of pixels, a sum for each of COLUMNS channels. A thread adds what lies at its place of the tiles, in float32 for 16-bit
floats; then the threads' sums are added. The strips' sums, of which there is one for a line or some hundred pixels, are
added in float64.
"""

from __future__ import annotations

import dataclasses

import torch
import triton
import triton.language as tl
from torch import Tensor

from .tile import Tiling, tile_column, tile_map

# Tiles of a channels_last strip: the strips' sums are then a hundredth of the traffic or less.
STEPS = 16


@dataclasses.dataclass(frozen=True)
class Strips:
    """How a map is divided: what the kernels take, and where their sums lie."""

    grid: tuple[int]
    rows: int
    channels: int
    steps: int
    tiling: Tiling
    partial: tuple[int, ...]

    def over_channels(self, partial: Tensor) -> Tensor:
        """The sums of the strips, [terms, ...] of them, for each channel: [terms, C], float64."""
        if self.tiling.channels_last:
            return partial.sum(1, dtype=torch.float64)
        return partial.sum((1, 3), dtype=torch.float64)


def strip_map(batch: int, channels: int, height: int, width: int, channels_last: bool) -> Strips:
    """Divide a map into strips; a sum for each is stored at `partial`, (strips, C) or (N, C, H)."""
    _, rows, inner, tiling = tile_map(batch, channels, height, width, channels_last)
    if not channels_last:
        steps = triton.cdiv(width, tiling.columns)
        return Strips((triton.cdiv(rows, tiling.rows),), rows, inner, steps, tiling, (batch, channels, height))
    tiling = dataclasses.replace(tiling, wide_rows=rows + tiling.rows * STEPS >= 2**31)
    strips = triton.cdiv(rows, tiling.rows * STEPS)
    return Strips((strips * triton.cdiv(channels, tiling.columns),), rows, inner, STEPS, tiling, (strips, channels))


@triton.jit
def strip_places(rows, channels, tiling: tl.constexpr):
    """Where this program's sums lie in `partial`, [ROWS, 1] or [1, COLUMNS], and which of them exist."""
    ROWS: tl.constexpr = tiling.rows
    COLUMNS: tl.constexpr = tiling.columns
    if tiling.channels_last:
        column = tile_column(channels, tiling) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
        strip = tl.program_id(0) // tl.cdiv(channels, COLUMNS)
        place = strip.to(tl.int64) * channels + column
        real = column < channels
    else:
        place = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
        real = place < rows
    return place, real


@triton.jit
def store_sum(partial, total, place, real, tiling: tl.constexpr):
    """Add the [ROWS, COLUMNS] sums of the threads up, and store them."""
    tl.store(partial + place, tl.sum(total, axis=0 if tiling.channels_last else 1, keep_dims=True), mask=real)


@triton.jit
def channel_number(image, channel, map_channels, tiling: tl.constexpr):
    """The channel of the elements of a tile, and so the place of their parameters."""
    return channel if tiling.channels_last else image % map_channels

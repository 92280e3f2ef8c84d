"""How the kernels of this folder divide a map into tiles, one program a tile.

A map is ``images`` times (height, width) pixels times ``channels``:

* channels_last: images = N, channels = C; a tile is ROWS pixels (n, h, w) by COLUMNS channels;
* contiguous: images = N * C, channels = 1; a tile is ROWS lines (n * C + c, h) by COLUMNS pixels of a line.

In both, element (image, h, w, channel) lies at ``((image * height + h) * width + w) * channels + channel``, and the
columns of a tile are neighbours in memory. A row number is divided into its coordinates once a row, not once an
element. Row numbers are 32-bit where a map has fewer than 2^31 rows (a 64-bit division costs several times a 32-bit
one); addresses are always 64-bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from wwae.reference.window import accumulation_dtype
from wwae.reference.window import memory_format as layout_of

# 1024 elements a program over 4 warps of 32 threads: 8 a thread, 16 bytes of bfloat16 in one access.
TILE_ELEMENTS = 1024
WARPS = 4

# The widest tile: 256 columns leave 4 rows a tile, enough to keep several lines in flight.
MAX_COLUMNS = 256

# A window of up to 16 taps (4 x 4) is unrolled; a larger one (16 x 16 has 256) is a loop, so that code stays small.
MAX_UNROLLED_TAPS = 16


@dataclass(frozen=True)
class Tiling:
    """The compile-time shape of a tile."""

    channels_last: bool
    rows: int
    columns: int
    wide_rows: bool
    alignment: int

    def paired(self, window: Window) -> bool:
        """The two columns of a window lie side by side in a line, and so do those of its neighbours.

        Then a line is read and written whole, in vectors, and split into its even and odd columns in registers. A line
        of odd length allows no vectors.
        """
        columns = window.kernel_width, window.stride_width, window.padding_width, window.dilation_width
        return not self.channels_last and columns == (2, 2, 0, 1) and self.alignment > 1


@dataclass(frozen=True)
class Window:
    """The compile-time geometry of a pooling window, heights first."""

    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    padding_height: int
    padding_width: int
    dilation_height: int
    dilation_width: int

    @staticmethod
    def of(kernel_size: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]) -> Window:
        return Window(*(int(size) for pair in (kernel_size, stride, padding, dilation) for size in pair))

    @property
    def taps(self) -> int:
        return self.kernel_height * self.kernel_width

    @property
    def unrolled(self) -> bool:
        return self.taps <= MAX_UNROLLED_TAPS

    @property
    def claimants_height(self) -> int:
        """The most windows that can hold one pixel, along the height: ceil(extent / stride)."""
        return (self.kernel_height - 1) * self.dilation_height // self.stride_height + 1

    @property
    def claimants_width(self) -> int:
        return (self.kernel_width - 1) * self.dilation_width // self.stride_width + 1

    @property
    def claimants(self) -> int:
        return self.claimants_height * self.claimants_width

    @property
    def claimants_unrolled(self) -> bool:
        return self.claimants <= MAX_UNROLLED_TAPS

    @property
    def disjoint(self) -> bool:
        """No pixel lies in two windows."""
        return self.claimants == 1

    def tap_at(self, i: int, j: int) -> int:
        """Offset of the tap that stands i pixels below and j right of a window's first, or -1."""
        r, below = divmod(i, self.dilation_height)
        c, right = divmod(j, self.dilation_width)
        held = below == 0 and right == 0 and r < self.kernel_height and c < self.kernel_width
        return r * self.kernel_width + c if held else -1

    @property
    def cell(self) -> int:
        """Pixels of the stride-sized cell that a window of a disjoint geometry has to itself."""
        return self.stride_height * self.stride_width


def is_channels_last(x: Tensor) -> bool:
    """The layout rule: channels_last where the strides say so, contiguous for all else."""
    return layout_of(x) == torch.channels_last


def memory_format(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


def wide_parameter(parameter: Tensor, x: Tensor) -> Tensor:
    """One number a channel, side by side, in the type in which numbers of x are added."""
    return parameter.to(accumulation_dtype(x.dtype)).contiguous()


def tile_map(
    batch: int, channels: int, height: int, width: int, channels_last: bool, line: int = 1, elements: int = TILE_ELEMENTS
) -> tuple[tuple[int], int, int, Tiling]:
    """Divide a map: (grid, rows of the map, channels of the kernel, tile shape).

    line is the width of the other map of the kernel, of which paired tiles access whole lines; elements, those of a tile, are at
    least MAX_COLUMNS.
    """
    if channels_last:
        rows, columns = batch * height * width, channels
    else:
        rows, columns, channels = batch * channels * height, width, 1
    tile_columns = min(triton.next_power_of_2(columns), MAX_COLUMNS)
    tile_rows = elements // tile_columns
    programs = triton.cdiv(rows, tile_rows) * triton.cdiv(columns, tile_columns)
    # The last tile counts past the end of the map, so it too must stay below 2^31.
    wide_rows = rows + tile_rows >= 2**31
    # The largest power of two that divides a line; 16 elements are enough for any vector.
    alignment = min(line & -line, 16)
    return (programs,), rows, channels, Tiling(channels_last, tile_rows, tile_columns, wide_rows, alignment)


@triton.jit
def tile_column(columns, tiling: tl.constexpr):
    """Number of this program's tile among those that lie side by side."""
    return tl.program_id(0) % tl.cdiv(columns, tiling.columns)


@triton.jit
def tile_elements(rows, height, width, channels, tiling: tl.constexpr):
    """Coordinates (image, h, w, channel) of this program's tile, and which of its elements lie on the map.

    Each broadcasts to [ROWS, COLUMNS].
    """
    columns = channels if tiling.channels_last else width
    row_tile = tl.program_id(0) // tl.cdiv(columns, tiling.columns)
    return tile_coordinates(row_tile, tile_column(columns, tiling), rows, height, width, channels, tiling)


@triton.jit
def strip_elements(step, steps, rows, height, width, channels, tiling: tl.constexpr):
    """As tile_elements, of one of the tiles that this program adds up: see strip_map."""
    if tiling.channels_last:
        row_tile = tl.program_id(0) // tl.cdiv(channels, tiling.columns) * steps + step
        column_tile = tile_column(channels, tiling)
    else:
        row_tile = tl.program_id(0)
        column_tile = step
    return tile_coordinates(row_tile, column_tile, rows, height, width, channels, tiling)


@triton.jit
def tile_coordinates(row_tile, column_tile, rows, height, width, channels, tiling: tl.constexpr):
    ROWS: tl.constexpr = tiling.rows
    COLUMNS: tl.constexpr = tiling.columns
    columns = channels if tiling.channels_last else width
    column = column_tile * COLUMNS + tl.arange(0, COLUMNS)[None, :]  # [1, COLUMNS]
    if tiling.wide_rows:
        row_tile = row_tile.to(tl.int64)
    row = row_tile * ROWS + tl.arange(0, ROWS)[:, None]  # [ROWS, 1]
    inside = (row < rows) & (column < columns)
    if tiling.channels_last:
        w = row % width
        line = row // width
        channel = column
    else:
        w = column
        line = row
        channel = tl.zeros_like(column)
    return line // height, line % height, w, channel, inside


@triton.jit
def element_address(image, h, w, channel, height, width, channels):
    """Position of (image, h, w, channel) in a map, in elements, 64-bit."""
    return ((image.to(tl.int64) * height + h) * width + w) * channels + channel


@triton.jit
def pair_addresses(image, h, rows_inside, columns, height, width, tiling: tl.constexpr):
    """Positions of pixels 2 * w and 2 * w + 1 of line h, for every column w of a contiguous tile, and which are real.

    Both are [ROWS, 2 * COLUMNS], neighbours in memory along the columns. rows_inside, image and h are [ROWS, 1].
    """
    PAIRS: tl.constexpr = tiling.columns * 2
    ALIGNMENT: tl.constexpr = tiling.alignment
    w = tile_column(columns, tiling) * PAIRS + tl.arange(0, PAIRS)[None, :]
    # Written as a multiple of its alignment, the line's length lets the compiler use vector accesses.
    line = width // ALIGNMENT * ALIGNMENT
    real = rows_inside & (h >= 0) & (h < height) & (w < line)
    return (image.to(tl.int64) * height + h) * line + w, real

"""Interpolating unpooling: every value is split over the four taps of its window around its position.

Along an axis of K taps a position p in [-1, 1] (beyond that it counts as the nearer end) stands at u = (p + 1) (K - 1) / 2;
tap i0 = min(floor(u), K - 2) gets the part 1 - (u - i0) and the next tap the rest. Overlapping windows add, in raster
order and in float32 for 16-bit floats. A tap of weight 0 gets nothing, also of an infinite value.

what [N, C, OH, OW], where [N, C, OH, OW, 2] in the type of the sums, output [N, C, H, W], all in the layout of what.
Deterministic, without atomics: every pixel is written once. Two kernels:

* cells, for disjoint windows: a program computes one tile of windows and writes the SH x SW cell of pixels that each has
  to itself. Bytes per output pixel of a 2 x 2 window and 16-bit floats: 0.5 + 2 + 2.
* pixels, for all else: a program computes one tile of pixels from the windows over each.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .cell import MAX_CELL, cell_grid
from .interpolation import interpolate, share_of_tap
from .pairs import pairs_in_memory
from .soft_window import SOFT_TILE, UNROLLED, load_pair, sums_like
from .tile import (
    WARPS,
    Window,
    element_address,
    is_channels_last,
    memory_format,
    pair_addresses,
    tile_elements,
    tile_map,
)


@triton.jit
def cell_pixel(value, row_lower, row_share, column_lower, column_share, i, j, window: tl.constexpr):
    """What pixel (i, j) of a window's cell holds."""
    TAP: tl.constexpr = window.tap_at(i, j)
    return share_of_tap(value, row_lower, row_share, column_lower, column_share, i, j) if TAP >= 0 else tl.zeros_like(value)


@triton.jit
def soft_argmax_unpool2d_cells_kernel(
    what,  # [N, C, OH, OW]
    where,  # [N, C, OH, OW, 2]
    output,  # [N, C, H, W]
    rows,  # of the map of cells
    cells_height,
    cells_width,
    channels,
    height,
    width,
    out_height,
    out_width,
    window: tl.constexpr,
    tiling: tl.constexpr,
):
    # (image, oh, ow, channel) is a cell; those past the last window hold no value and are zero
    STRIDE_HEIGHT: tl.constexpr = window.stride_height
    STRIDE_WIDTH: tl.constexpr = window.stride_width
    image, oh, ow, channel, inside = tile_elements(rows, cells_height, cells_width, channels, tiling)
    held = inside & (oh < out_height) & (ow < out_width)
    address = element_address(image, oh, ow, channel, out_height, out_width, channels)
    value = tl.load(what + address, mask=held, other=0.0).to(sums_like(what, inside).dtype)
    x, y = load_pair(where, address, held)
    column_lower, column_share, _ = interpolate(x, window.kernel_width)
    row_lower, row_share, _ = interpolate(y, window.kernel_height)
    if tiling.paired(window):
        rows_inside = image * cells_height + oh < rows
        for i in tl.static_range(STRIDE_HEIGHT):
            h = oh * STRIDE_HEIGHT - window.padding_height + i
            addresses, real = pair_addresses(image, h, rows_inside, cells_width, height, width, tiling)
            left = cell_pixel(value, row_lower, row_share, column_lower, column_share, i, 0, window)
            right = cell_pixel(value, row_lower, row_share, column_lower, column_share, i, 1, window)
            pairs = tl.reshape(tl.join(left, right), [tiling.rows, tiling.columns * 2])
            tl.store(output + addresses, pairs.to(output.dtype.element_ty), mask=real)
    else:
        for i in tl.static_range(STRIDE_HEIGHT):
            for j in tl.static_range(STRIDE_WIDTH):
                h = oh * STRIDE_HEIGHT - window.padding_height + i
                w = ow * STRIDE_WIDTH - window.padding_width + j
                real = inside & (h >= 0) & (h < height) & (w >= 0) & (w < width)
                pixel = cell_pixel(value, row_lower, row_share, column_lower, column_share, i, j, window)
                place = element_address(image, h, w, channel, height, width, channels)
                tl.store(output + place, pixel.to(output.dtype.element_ty), mask=real)


@triton.jit
def add_window(what, where, sum, image, h, w, channel, i, j, out_height, out_width, channels, inside, window: tl.constexpr):
    """Add what candidate window (i, j), in raster order, gives to pixel (h, w)."""
    oh = (h + window.padding_height) // window.stride_height - (window.claimants_height - 1) + i
    ow = (w + window.padding_width) // window.stride_width - (window.claimants_width - 1) + j
    r = h + window.padding_height - oh * window.stride_height  # never negative
    c = w + window.padding_width - ow * window.stride_width
    held = inside & (oh >= 0) & (oh < out_height) & (ow >= 0) & (ow < out_width)
    held &= (r < window.kernel_height) & (c < window.kernel_width)
    address = element_address(image, oh, ow, channel, out_height, out_width, channels)
    value = tl.load(what + address, mask=held, other=0.0).to(sum.dtype)
    x, y = load_pair(where, address, held)
    column_lower, column_share, _ = interpolate(x, window.kernel_width)
    row_lower, row_share, _ = interpolate(y, window.kernel_height)
    return sum + tl.where(held, share_of_tap(value, row_lower, row_share, column_lower, column_share, r, c), 0.0)


@triton.jit
def soft_argmax_unpool2d_pixels_kernel(
    what,  # [N, C, OH, OW]
    where,  # [N, C, OH, OW, 2]
    output,  # [N, C, H, W]
    rows,  # of the output
    channels,
    height,
    width,
    out_height,
    out_width,
    window: tl.constexpr,
    tiling: tl.constexpr,
):
    # (image, h, w, channel) is a pixel of the output
    CLAIMANTS: tl.constexpr = window.claimants
    CLAIMANTS_WIDTH: tl.constexpr = window.claimants_width
    image, h, w, channel, inside = tile_elements(rows, height, width, channels, tiling)
    sum = sums_like(what, inside)
    if window.claimants <= UNROLLED:
        for n in tl.static_range(CLAIMANTS):
            sum = add_window(
                what, where, sum, image, h, w, channel, n // CLAIMANTS_WIDTH, n % CLAIMANTS_WIDTH, out_height, out_width,
                channels, inside, window,
            )  # fmt: skip
    else:
        for n in range(CLAIMANTS):
            sum = add_window(
                what, where, sum, image, h, w, channel, n // CLAIMANTS_WIDTH, n % CLAIMANTS_WIDTH, out_height, out_width,
                channels, inside, window,
            )  # fmt: skip
    address = element_address(image, h, w, channel, height, width, channels)
    tl.store(output + address, sum.to(output.dtype.element_ty), mask=inside)


def soft_argmax_unpool2d_triton(
    what: Tensor,
    where: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    output_size: Sequence[int],
) -> Tensor:
    """The unpooled map; `wwae::soft_argmax_unpool2d` on the Triton backend."""
    channels_last = is_channels_last(what)
    layout = memory_format(channels_last)
    what = what.contiguous(memory_format=layout)
    where = pairs_in_memory(where, channels_last)
    batch, channels, out_height, out_width = what.shape
    height, width = output_size
    window = Window.of(kernel_size, stride, padding, (1, 1))
    output = torch.empty((batch, channels, height, width), dtype=what.dtype, device=what.device, memory_format=layout)
    if output.numel() == 0:
        return output
    with torch.cuda.device_of(what):
        if window.disjoint and window.cell <= MAX_CELL:
            cells = cell_grid(height, width, window)
            grid, rows, inner, tiling = tile_map(batch, channels, *cells, channels_last, line=width, elements=2 * SOFT_TILE)
            soft_argmax_unpool2d_cells_kernel[grid](
                what, where, output, rows, *cells, inner, height, width, out_height, out_width, window, tiling,
                num_warps=WARPS,
            )  # fmt: skip
        else:
            grid, rows, inner, tiling = tile_map(batch, channels, height, width, channels_last, elements=2 * SOFT_TILE)
            soft_argmax_unpool2d_pixels_kernel[grid](
                what, where, output, rows, inner, height, width, out_height, out_width, window, tiling, num_warps=WARPS
            )
    return output

"""Unpooling without switches: every value goes to the same tap of its window.

    output[n, c, h * SH + r, w * SW + c] = x[n, c, h, w] where that lies on the output, 0 elsewhere; (r, c) = position

x [N, C, OH, OW], output [N, C, H, W], both in the layout of x. Deterministic: every pixel is written once, by the
program that owns its cell. A program computes one tile of cells (cells), or one tile of pixels (pixels) where a cell
has more than 16 or the position lies beyond it. Bytes per output pixel with stride 2 and 16-bit floats: 0.5 + 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .cell import MAX_CELL, cell_grid, store_cell
from .tile import WARPS, Window, element_address, is_channels_last, memory_format, tile_elements, tile_map


@triton.jit
def fixed_unpool2d_cells_kernel(
    x,  # [N, C, OH, OW]
    output,  # [N, C, H, W]
    rows,  # of the map of cells
    cells_height,
    cells_width,
    channels,
    height,
    width,
    out_height,
    out_width,
    position,  # of the value in its cell, row-major
    window: tl.constexpr,
    tiling: tl.constexpr,
):
    # (image, oh, ow, channel) is a cell; those past the end of x are zero
    image, oh, ow, channel, inside = tile_elements(rows, cells_height, cells_width, channels, tiling)
    held = inside & (oh < out_height) & (ow < out_width)
    value = tl.load(x + element_address(image, oh, ow, channel, out_height, out_width, channels), mask=held, other=0.0)
    store_cell(
        output, value, position, image, oh, ow, channel, inside, rows, cells_height, cells_width, height, width,
        channels, window, tiling,
    )  # fmt: skip


@triton.jit
def fixed_unpool2d_pixels_kernel(
    x,  # [N, C, OH, OW]
    output,  # [N, C, H, W]
    rows,  # of the output
    channels,
    height,
    width,
    out_height,
    out_width,
    row,  # of the first value
    column,
    window: tl.constexpr,
    tiling: tl.constexpr,
):
    # (image, h, w, channel) is a pixel of the output
    image, h, w, channel, inside = tile_elements(rows, height, width, channels, tiling)
    oh = (h - row) // window.stride_height
    ow = (w - column) // window.stride_width
    held = inside & (h >= row) & ((h - row) % window.stride_height == 0)
    held &= (w >= column) & ((w - column) % window.stride_width == 0)
    held &= (oh < out_height) & (ow < out_width)
    value = tl.load(x + element_address(image, oh, ow, channel, out_height, out_width, channels), mask=held, other=0.0)
    tl.store(output + element_address(image, h, w, channel, height, width, channels), value, mask=inside)


def fixed_unpool2d_triton(x: Tensor, stride: Sequence[int], position: Sequence[int], output_size: Sequence[int]) -> Tensor:
    """The unpooled map; `wwae::fixed_unpool2d` on the Triton backend."""
    channels_last = is_channels_last(x)
    layout = memory_format(channels_last)
    x = x.contiguous(memory_format=layout)
    batch, channels, out_height, out_width = x.shape
    height, width = output_size
    # The window that fills its cell: a tap for every position.
    window = Window.of(stride, stride, (0, 0), (1, 1))
    output = torch.empty((batch, channels, height, width), dtype=x.dtype, device=x.device, memory_format=layout)
    if output.numel() == 0:
        return output
    with torch.cuda.device_of(x):
        if window.cell <= MAX_CELL and position[0] < stride[0] and position[1] < stride[1]:
            cells = cell_grid(height, width, window)
            grid, rows, inner, tiling = tile_map(batch, channels, *cells, channels_last, line=width)
            fixed_unpool2d_cells_kernel[grid](
                x, output, rows, *cells, inner, height, width, out_height, out_width,
                position[0] * stride[1] + position[1], window, tiling, num_warps=WARPS,
            )  # fmt: skip
        else:
            grid, rows, inner, tiling = tile_map(batch, channels, height, width, channels_last)
            fixed_unpool2d_pixels_kernel[grid](
                x, output, rows, inner, height, width, out_height, out_width, *position, window, tiling,
                num_warps=WARPS,
            )  # fmt: skip
    return output

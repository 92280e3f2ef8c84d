"""Cells: with disjoint windows, each window has the SH x SW pixels from its start to itself."""

from __future__ import annotations

import triton
import triton.language as tl

from .tile import Window, element_address

# A cell's pixels are written by unrolled stores; a larger cell is left to the kernels that work pixel by pixel.
MAX_CELL = 16


def cell_grid(height: int, width: int, window: Window) -> tuple[int, int]:
    """How many cells cover a (height, width) map whose first cell starts at minus the padding."""
    return (
        triton.cdiv(height + window.padding_height, window.stride_height),
        triton.cdiv(width + window.padding_width, window.stride_width),
    )


@triton.jit
def value_at(value, offset, i, j, window: tl.constexpr):
    """What pixel (i, j) of the cell holds: the value if the offset names that pixel's tap, else 0."""
    r = i // window.dilation_height
    c = j // window.dilation_width
    if i % window.dilation_height == 0 and j % window.dilation_width == 0:
        if r < window.kernel_height and c < window.kernel_width:
            return tl.where(offset == r * window.kernel_width + c, value, 0.0).to(value.dtype)
        else:
            return tl.zeros_like(value)
    else:
        return tl.zeros_like(value)


@triton.jit
def store_cell(
    output, value, offset, image, oh, ow, channel, inside, rows, height, width, channels, window: tl.constexpr,
    tiling: tl.constexpr,
):  # fmt: skip
    """Write all pixels of cell (oh, ow) that lie on the output; offset -1 names none of them."""
    CELL: tl.constexpr = window.cell
    STRIDE_WIDTH: tl.constexpr = window.stride_width
    for pixel in tl.static_range(CELL):
        i = pixel // STRIDE_WIDTH
        j = pixel % STRIDE_WIDTH
        h = oh * window.stride_height - window.padding_height + i
        w = ow * window.stride_width - window.padding_width + j
        real = inside & (h >= 0) & (h < height) & (w >= 0) & (w < width)
        address = element_address(image, h, w, channel, height, width, channels)
        tl.store(output + address, value_at(value, offset, i, j, window), mask=real)

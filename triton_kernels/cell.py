"""Cells: with disjoint windows, each window has the SH x SW pixels from its start to itself."""

from __future__ import annotations

import triton
import triton.language as tl

from .tile import Window, element_address, pair_addresses

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
    TAP: tl.constexpr = window.tap_at(i, j)
    return tl.where(offset == TAP, value, 0.0).to(value.dtype) if TAP >= 0 else tl.zeros_like(value)


@triton.jit
def finish(total, x, address, inside, mean, scale, slope, shift):
    """What a pixel holds that collected total: total * scale, and with x (x - mean) * slope + shift more; without scale
    total itself. In float32 for 16-bit floats."""
    if scale is not None:
        total = total.to(scale.dtype) * scale
        if x is not None:
            total += (tl.load(x + address, mask=inside, other=0.0).to(scale.dtype) - mean) * slope + shift
    return total


@triton.jit
def store_cell(
    output, value, offset, image, oh, ow, channel, inside, rows, cells_height, cells_width, height, width, channels,
    window: tl.constexpr, tiling: tl.constexpr, x=None, mean=None, scale=None, slope=None, shift=None,
):  # fmt: skip
    """Write all pixels of cell (oh, ow) that lie on the output, after finish; offset -1 names none of them."""
    STRIDE_HEIGHT: tl.constexpr = window.stride_height
    STRIDE_WIDTH: tl.constexpr = window.stride_width
    if tiling.paired(window):
        rows_inside = image * cells_height + oh < rows
        for i in tl.static_range(STRIDE_HEIGHT):
            h = oh * STRIDE_HEIGHT - window.padding_height + i
            addresses, real = pair_addresses(image, h, rows_inside, cells_width, height, width, tiling)
            pairs = tl.join(value_at(value, offset, i, 0, window), value_at(value, offset, i, 1, window))
            pixels = tl.reshape(pairs, [tiling.rows, tiling.columns * 2])
            pixels = finish(pixels, x, addresses, real, mean, scale, slope, shift)
            tl.store(output + addresses, pixels.to(output.dtype.element_ty), mask=real)
    else:
        for i in tl.static_range(STRIDE_HEIGHT):
            for j in tl.static_range(STRIDE_WIDTH):
                h = oh * STRIDE_HEIGHT - window.padding_height + i
                w = ow * STRIDE_WIDTH - window.padding_width + j
                real = inside & (h >= 0) & (h < height) & (w >= 0) & (w < width)
                address = element_address(image, h, w, channel, height, width, channels)
                pixel = finish(value_at(value, offset, i, j, window), x, address, real, mean, scale, slope, shift)
                tl.store(output + address, pixel.to(output.dtype.element_ty), mask=real)

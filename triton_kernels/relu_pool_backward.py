"""From the gradient of pooled values to that of the map: what the operations with a ReLU before the pooling share.

A window whose value is positive or NaN adds its gradient to the pixel its switch names, in float32 for 16-bit floats;
the others stop theirs. `finish` (cell.py) turns the sum of a pixel into its gradient, which is rounded once.

grad, values and offsets [N, C, OH, OW], output and x [N, C, H, W], all in the layout of grad. Two kernels, as in
switch_unpool2d: cells, for disjoint windows, and claims, for all else. Bytes per pixel of a 2 x 2 window and 16-bit
floats: 0.5 + 0.5 + 0.25 + 2, and 2 more where x is read.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .cell import MAX_CELL, cell_grid, finish, store_cell
from .channel_sums import channel_number
from .tile import WARPS, Window, element_address, tile_elements, tile_map
from .window import claiming_window


@triton.jit
def passed_gradient(grad, values, address, inside):
    """The gradient of the windows at these addresses, 0 where ReLU stopped it; float32 for 16-bit floats."""
    accumulator: tl.constexpr = tl.float64 if grad.dtype.element_ty == tl.float64 else tl.float32
    value = tl.load(values + address, mask=inside, other=0.0).to(accumulator)
    return tl.where(value <= 0, 0.0, tl.load(grad + address, mask=inside, other=0.0).to(accumulator))


@triton.jit
def load_parameter(parameter, number, map_channels):
    return None if parameter is None else tl.load(parameter + number, mask=number < map_channels, other=0.0)


@triton.jit
def relu_pool_backward_cells_kernel(
    grad,  # [N, C, OH, OW]
    values,  # [N, C, OH, OW]
    offsets,  # [N, C, OH, OW], uint8, int16 or int32
    output,  # [N, C, H, W]
    x,  # [N, C, H, W], or None
    mean,  # [C], as are the next three, or None
    scale,
    slope,
    shift,
    rows,  # of the map of cells
    cells_height,
    cells_width,
    channels,
    map_channels,
    height,
    width,
    out_height,
    out_width,
    window: tl.constexpr,
    tiling: tl.constexpr,
):
    # (image, oh, ow, channel) is a cell; those past the last window collect nothing
    image, oh, ow, channel, inside = tile_elements(rows, cells_height, cells_width, channels, tiling)
    held = inside & (oh < out_height) & (ow < out_width)
    address = element_address(image, oh, ow, channel, out_height, out_width, channels)
    value = passed_gradient(grad, values, address, held)
    offset = tl.where(held, tl.load(offsets + address, mask=held, other=0).to(tl.int32), -1)
    number = channel_number(image, channel, map_channels, tiling)
    store_cell(
        output, value, offset, image, oh, ow, channel, inside, rows, cells_height, cells_width, height, width,
        channels, window, tiling, x, load_parameter(mean, number, map_channels),
        load_parameter(scale, number, map_channels), load_parameter(slope, number, map_channels),
        load_parameter(shift, number, map_channels),
    )  # fmt: skip


@triton.jit
def add_passed(grad, values, offsets, total, image, h, w, channel, i, j, out_height, out_width, channels, inside,
               window: tl.constexpr):  # fmt: skip
    """Candidate window (i, j) of pixel (h, w) adds its gradient if it claims the pixel."""
    address, claim = claiming_window(offsets, image, h, w, channel, i, j, out_height, out_width, channels, inside, window)
    return total + passed_gradient(grad, values, address, claim)


@triton.jit
def relu_pool_backward_claims_kernel(
    grad,  # [N, C, OH, OW]
    values,  # [N, C, OH, OW]
    offsets,  # [N, C, OH, OW], uint8, int16 or int32
    output,  # [N, C, H, W]
    x,  # [N, C, H, W], or None
    mean,  # [C], as are the next three, or None
    scale,
    slope,
    shift,
    rows,  # of the output
    channels,
    map_channels,
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
    accumulator: tl.constexpr = tl.float64 if grad.dtype.element_ty == tl.float64 else tl.float32
    total = tl.zeros(inside.shape, accumulator)
    if window.claimants_unrolled:
        for n in tl.static_range(CLAIMANTS):
            total = add_passed(
                grad, values, offsets, total, image, h, w, channel, n // CLAIMANTS_WIDTH, n % CLAIMANTS_WIDTH,
                out_height, out_width, channels, inside, window,
            )  # fmt: skip
    else:
        for n in range(CLAIMANTS):
            total = add_passed(
                grad, values, offsets, total, image, h, w, channel, n // CLAIMANTS_WIDTH, n % CLAIMANTS_WIDTH,
                out_height, out_width, channels, inside, window,
            )  # fmt: skip
    address = element_address(image, h, w, channel, height, width, channels)
    number = channel_number(image, channel, map_channels, tiling)
    total = finish(
        total, x, address, inside, load_parameter(mean, number, map_channels),
        load_parameter(scale, number, map_channels), load_parameter(slope, number, map_channels),
        load_parameter(shift, number, map_channels),
    )  # fmt: skip
    tl.store(output + address, total.to(output.dtype.element_ty), mask=inside)


def write_map_gradient(
    grad: Tensor,
    values: Tensor,
    offsets: Tensor,
    output: Tensor,
    window: Window,
    channels_last: bool,
    x: Tensor | None = None,
    mean: Tensor | None = None,
    coefficients: Sequence[Tensor | None] = (None, None, None),
) -> None:
    """Fill output; coefficients are scale, slope and shift. All maps are in one layout."""
    batch, channels, height, width = output.shape
    out_height, out_width = grad.shape[2:]
    tensors = (grad, values, offsets, output, x, mean, *coefficients)
    warps = 2 * WARPS if grad.dtype == torch.float64 else WARPS  # half as many registers a thread
    with torch.cuda.device_of(grad):
        if window.disjoint and window.cell <= MAX_CELL:
            cells = cell_grid(height, width, window)
            grid, rows, inner, tiling = tile_map(batch, channels, *cells, channels_last, line=width)
            relu_pool_backward_cells_kernel[grid](
                *tensors, rows, *cells, inner, channels, height, width, out_height, out_width, window, tiling,
                num_warps=warps, enable_fp_fusion=False,
            )  # fmt: skip
        else:
            grid, rows, inner, tiling = tile_map(batch, channels, height, width, channels_last)
            relu_pool_backward_claims_kernel[grid](
                *tensors, rows, inner, channels, height, width, out_height, out_width, window, tiling,
                num_warps=warps, enable_fp_fusion=False,
            )  # fmt: skip

"""The gradient of interpolating unpooling, from the gradient of the map and the weights that the values were split by.

    gradient in what:  sum of weight * gradient over the four taps around the position
    gradient in where: what * sum of (slope of the weight) * gradient; 0 strictly outside [-1, 1]

A tap outside of the map counts as 0. what and its gradient [N, C, OH, OW], where and its gradient [N, C, OH, OW, 2] in the
type of the sums, the gradient of the map [N, C, H, W], all in the layout of what. A program computes one tile of windows
and reads four pixels for each; every output is written once: deterministic. Bytes per element of the map of a 2 x 2
window and 16-bit floats: 2 + 0.5 + 2 + 0.5 + 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .interpolation import interpolate, times
from .pairs import empty_pairs, pairs_in_memory
from .soft_window import SOFT_TILE, load_pair, store_pair, sums_like
from .tile import WARPS, Window, element_address, is_channels_last, memory_format, tile_elements, tile_map
from .window import load_tap


@triton.jit
def row_of_two(grad, image, channel, h, w, height, width, channels, held, column_share, column_slope, KERNEL_WIDTH: tl.constexpr):
    """The gradient interpolated along a row between pixels w and w + 1, and its slope."""
    left, _ = load_tap(grad, image, channel, h, w, height, width, channels, held)
    left = left.to(column_share.dtype)
    value = times(1 - column_share, left)
    slope = times(-column_slope, left)
    if KERNEL_WIDTH > 1:
        right, _ = load_tap(grad, image, channel, h, w + 1, height, width, channels, held)
        right = right.to(column_share.dtype)
        value += times(column_share, right)
        slope += times(column_slope, right)
    return value, slope


@triton.jit
def soft_argmax_unpool2d_backward_kernel(
    what,  # [N, C, OH, OW]
    where,  # [N, C, OH, OW, 2]
    grad,  # [N, C, H, W]
    grad_what,  # [N, C, OH, OW]
    grad_where,  # [N, C, OH, OW, 2]
    rows,  # of the map of windows
    channels,
    height,
    width,
    out_height,
    out_width,
    window: tl.constexpr,
    tiling: tl.constexpr,
):
    # (image, oh, ow, channel) is a window
    KERNEL_WIDTH: tl.constexpr = window.kernel_width
    image, oh, ow, channel, inside = tile_elements(rows, out_height, out_width, channels, tiling)
    address = element_address(image, oh, ow, channel, out_height, out_width, channels)
    factor = tl.load(what + address, mask=inside, other=0.0).to(sums_like(what, inside).dtype)
    x, y = load_pair(where, address, inside)
    column_lower, column_share, column_slope = interpolate(x, window.kernel_width)
    row_lower, row_share, row_slope = interpolate(y, window.kernel_height)
    h = oh * window.stride_height - window.padding_height + row_lower
    w = ow * window.stride_width - window.padding_width + column_lower
    upper, upper_slope = row_of_two(
        grad, image, channel, h, w, height, width, channels, inside, column_share, column_slope, KERNEL_WIDTH
    )
    value = times(1 - row_share, upper)
    across = times(1 - row_share, upper_slope)
    down = times(-row_slope, upper)
    if window.kernel_height > 1:
        lower, lower_slope = row_of_two(
            grad, image, channel, h + 1, w, height, width, channels, inside, column_share, column_slope, KERNEL_WIDTH
        )
        value += times(row_share, lower)
        across += times(row_share, lower_slope)
        down += times(row_slope, lower)
    # Where the slope is 0 the other axis counts for nothing, even if its position is NaN.
    across = tl.where(column_slope == 0, 0.0, times(across, factor))
    down = tl.where(row_slope == 0, 0.0, times(down, factor))
    tl.store(grad_what + address, value.to(grad_what.dtype.element_ty), mask=inside)
    store_pair(grad_where, address, across, down, inside)


def soft_argmax_unpool2d_backward_triton(
    what: Tensor,
    where: Tensor,
    grad: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Gradients in what and where; `wwae::soft_argmax_unpool2d_backward` on the Triton backend."""
    channels_last = is_channels_last(what)
    layout = memory_format(channels_last)
    what, grad = (tensor.contiguous(memory_format=layout) for tensor in (what, grad))
    where = pairs_in_memory(where, channels_last)
    batch, channels, out_height, out_width = what.shape
    size, (height, width) = (batch, channels, out_height, out_width), grad.shape[2:]
    window = Window.of(kernel_size, stride, padding, (1, 1))
    grad_what = torch.empty_like(what, memory_format=layout)
    grad_where = empty_pairs(size, where.dtype, what.device, channels_last)
    if what.numel() == 0:
        return grad_what, grad_where
    grid, rows, inner, tiling = tile_map(*size, channels_last, elements=2 * SOFT_TILE)
    with torch.cuda.device_of(what):
        soft_argmax_unpool2d_backward_kernel[grid](
            what, where, grad, grad_what, grad_where, rows, inner, height, width, *size[2:], window, tiling, num_warps=WARPS
        )
    return grad_what, grad_where

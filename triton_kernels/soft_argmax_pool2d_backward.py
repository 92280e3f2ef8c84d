"""The gradient of soft-argmax pooling.

With the gradients g in what and p in where, and h = g (z - what) + p . (position - where), at a tap z of weight w:

    gradient in z:    sum over the windows of w (g + beta h)
    gradient in beta: sum of w (z - what) h, for every plane

x and its gradient [N, C, H, W], g [N, C, OH, OW], p [N, C, OH, OW, 2], all in the layout of x; beta and its gradient
[N, C]. Deterministic, without atomics: every element is written once, and what a pixel or a plane adds up is in a fixed
order. Two ways:

* cells, where windows tile the map: a program makes the softmax of a tile of windows again and writes the gradients of
  their taps. Bytes per element of x of a 2 x 2 window and 16-bit floats: 2 + 0.5 + 2 + 2.
* windows, then pixels, for all else: the first writes the maximum, the sum of the powers and the means of every window,
  5 numbers of the type of the sums; in the second a program owns a tile of pixels and adds over the windows of each.

For the gradient in beta either writes one number a window, which are added afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from wwae.reference.window import accumulation_dtype

from .pairs import pairs_in_memory
from .soft_window import (
    SOFT_TILE,
    UNROLLED,
    load_pair,
    plane_beta,
    power_of,
    quotient,
    soft_window,
    sums_like,
    tap_position,
    window_tap,
)
from .tile import WARPS, Window, element_address, is_channels_last, memory_format, tile_elements, tile_map

NUMBERS = 5  # of a window, between the two kernels


@triton.jit
def tap_gradient(value, real, maximum, total, mean, column, row, beta, g, p_x, p_y, r, c, window: tl.constexpr):
    """Gradient in a tap (r, c), and its part of the gradient in beta."""
    far, power = power_of(value, real, maximum, beta)
    weight = quotient(power, total)
    centred = far - mean
    pull = g * centred + p_x * (tap_position(c, value, window.kernel_width) - column)
    pull += p_y * (tap_position(r, value, window.kernel_height) - row)
    # A tap outside of the map has no weight, but a NaN of its window must not count for it either.
    return weight * (g + beta * pull), tl.where(real, weight * centred * pull, 0.0)


@triton.jit
def store_tap(
    x, grad_x, beta_sum, maximum, total, mean, column, row, beta, g, p_x, p_y, image, channel, oh, ow, r, c, height, width,
    channels, inside, write: tl.constexpr, window: tl.constexpr,
):  # fmt: skip
    """Write the gradient of one tap, where asked to, and add to that in beta."""
    value, real = window_tap(x, image, channel, oh, ow, r, c, height, width, channels, inside, beta_sum, window)
    gradient, part = tap_gradient(value, real, maximum, total, mean, column, row, beta, g, p_x, p_y, r, c, window)
    if write:
        h = oh * window.stride_height - window.padding_height + r
        w = ow * window.stride_width - window.padding_width + c
        address = element_address(image, h, w, channel, height, width, channels)
        tl.store(grad_x + address, gradient.to(grad_x.dtype.element_ty), mask=real)
    return beta_sum + part


@triton.jit
def window_gradient(
    x, beta, grad_what, grad_where, grad_x, numbers, beta_sums, rows, channels, height, width, out_height, out_width,
    windows, write: tl.constexpr, beta_grad: tl.constexpr, window: tl.constexpr, tiling: tl.constexpr,
):  # fmt: skip
    """All that a tile of windows does: its gradients if `write`, else its numbers; and its part of that in beta."""
    KERNEL_WIDTH: tl.constexpr = window.kernel_width
    TAPS: tl.constexpr = window.taps
    image, oh, ow, channel, inside = tile_elements(rows, out_height, out_width, channels, tiling)
    like = sums_like(x, inside)
    sharpness = plane_beta(beta, image, channel, channels, inside)
    maximum, total, mean, column, row = soft_window(
        x, sharpness, like, image, channel, oh, ow, height, width, channels, inside, window
    )
    address = element_address(image, oh, ow, channel, out_height, out_width, channels)
    if not write:
        tl.store(numbers + address, maximum, mask=inside)
        tl.store(numbers + windows + address, total, mask=inside)
        tl.store(numbers + 2 * windows + address, mean, mask=inside)
        tl.store(numbers + 3 * windows + address, column, mask=inside)
        tl.store(numbers + 4 * windows + address, row, mask=inside)
    if write or beta_grad:
        g = tl.load(grad_what + address, mask=inside, other=0.0).to(like.dtype)
        p_x, p_y = load_pair(grad_where, address, inside)
        beta_sum = tl.zeros_like(like)
        if window.taps <= UNROLLED:
            for tap in tl.static_range(TAPS):
                beta_sum = store_tap(
                    x, grad_x, beta_sum, maximum, total, mean, column, row, sharpness, g, p_x, p_y, image, channel, oh, ow,
                    tap // KERNEL_WIDTH, tap % KERNEL_WIDTH, height, width, channels, inside, write, window,
                )  # fmt: skip
        else:
            for tap in range(TAPS):
                beta_sum = store_tap(
                    x, grad_x, beta_sum, maximum, total, mean, column, row, sharpness, g, p_x, p_y, image, channel, oh, ow,
                    tap // KERNEL_WIDTH, tap % KERNEL_WIDTH, height, width, channels, inside, write, window,
                )  # fmt: skip
        if beta_grad:
            tl.store(beta_sums + address, beta_sum, mask=inside)


@triton.jit
def soft_argmax_pool2d_backward_cells_kernel(
    x,  # [N, C, H, W]
    beta,  # [N, C]
    grad_what,  # [N, C, OH, OW]
    grad_where,  # [N, C, OH, OW, 2]
    grad_x,  # [N, C, H, W]
    beta_sums,  # [N, C, OH, OW]
    rows,  # of the map of windows
    channels,
    height,
    width,
    out_height,
    out_width,
    beta_grad: tl.constexpr,
    window: tl.constexpr,
    tiling: tl.constexpr,
):
    # (image, oh, ow, channel) is a window
    window_gradient(
        x, beta, grad_what, grad_where, grad_x, grad_x, beta_sums, rows, channels, height, width, out_height, out_width, 0,
        True, beta_grad, window, tiling,
    )  # fmt: skip


@triton.jit
def soft_argmax_pool2d_backward_windows_kernel(
    x,  # [N, C, H, W]
    beta,  # [N, C]
    grad_what,  # [N, C, OH, OW]
    grad_where,  # [N, C, OH, OW, 2]
    numbers,  # [5, N, C, OH, OW]
    beta_sums,  # [N, C, OH, OW]
    rows,  # of the map of windows
    channels,
    height,
    width,
    out_height,
    out_width,
    windows,  # in all
    beta_grad: tl.constexpr,
    window: tl.constexpr,
    tiling: tl.constexpr,
):
    # (image, oh, ow, channel) is a window
    window_gradient(
        x, beta, grad_what, grad_where, x, numbers, beta_sums, rows, channels, height, width, out_height, out_width, windows,
        False, beta_grad, window, tiling,
    )  # fmt: skip


@triton.jit
def add_window(
    grad_what, grad_where, numbers, sum, value, beta, image, h, w, channel, i, j, out_height, out_width, channels, windows,
    inside, window: tl.constexpr,
):  # fmt: skip
    """Add what candidate window (i, j), in raster order, gives to pixel (h, w)."""
    oh = (h + window.padding_height) // window.stride_height - (window.claimants_height - 1) + i
    ow = (w + window.padding_width) // window.stride_width - (window.claimants_width - 1) + j
    r = h + window.padding_height - oh * window.stride_height  # never negative
    c = w + window.padding_width - ow * window.stride_width
    held = inside & (oh >= 0) & (oh < out_height) & (ow >= 0) & (ow < out_width)
    held &= (r < window.kernel_height) & (c < window.kernel_width)
    address = element_address(image, oh, ow, channel, out_height, out_width, channels)
    maximum = tl.load(numbers + address, mask=held, other=0.0)
    total = tl.load(numbers + windows + address, mask=held, other=1.0)
    mean = tl.load(numbers + 2 * windows + address, mask=held, other=0.0)
    column = tl.load(numbers + 3 * windows + address, mask=held, other=0.0)
    row = tl.load(numbers + 4 * windows + address, mask=held, other=0.0)
    g = tl.load(grad_what + address, mask=held, other=0.0).to(sum.dtype)
    p_x, p_y = load_pair(grad_where, address, held)
    gradient, _ = tap_gradient(value, held, maximum, total, mean, column, row, beta, g, p_x, p_y, r, c, window)
    return sum + tl.where(held, gradient, 0.0)


@triton.jit
def soft_argmax_pool2d_backward_pixels_kernel(
    x,  # [N, C, H, W]
    beta,  # [N, C]
    grad_what,  # [N, C, OH, OW]
    grad_where,  # [N, C, OH, OW, 2]
    numbers,  # [5, N, C, OH, OW]
    grad_x,  # [N, C, H, W]
    rows,  # of the map
    channels,
    height,
    width,
    out_height,
    out_width,
    windows,  # in all
    window: tl.constexpr,
    tiling: tl.constexpr,
):
    # (image, h, w, channel) is a pixel
    CLAIMANTS: tl.constexpr = window.claimants
    CLAIMANTS_WIDTH: tl.constexpr = window.claimants_width
    image, h, w, channel, inside = tile_elements(rows, height, width, channels, tiling)
    address = element_address(image, h, w, channel, height, width, channels)
    sum = sums_like(x, inside)
    value = tl.load(x + address, mask=inside, other=0.0).to(sum.dtype)
    sharpness = plane_beta(beta, image, channel, channels, inside)
    if window.claimants <= UNROLLED:
        for n in tl.static_range(CLAIMANTS):
            sum = add_window(
                grad_what, grad_where, numbers, sum, value, sharpness, image, h, w, channel, n // CLAIMANTS_WIDTH,
                n % CLAIMANTS_WIDTH, out_height, out_width, channels, windows, inside, window,
            )  # fmt: skip
    else:
        for n in range(CLAIMANTS):
            sum = add_window(
                grad_what, grad_where, numbers, sum, value, sharpness, image, h, w, channel, n // CLAIMANTS_WIDTH,
                n % CLAIMANTS_WIDTH, out_height, out_width, channels, windows, inside, window,
            )  # fmt: skip
    tl.store(grad_x + address, sum.to(grad_x.dtype.element_ty), mask=inside)


def soft_argmax_pool2d_backward_triton(
    x: Tensor,
    beta: Tensor,
    grad_what: Tensor,
    grad_where: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    beta_grad: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients in x and beta; `wwae::soft_argmax_pool2d_backward` on the Triton backend."""
    channels_last = is_channels_last(x)
    layout = memory_format(channels_last)
    x, grad_what = (tensor.contiguous(memory_format=layout) for tensor in (x, grad_what))
    beta, grad_where = beta.contiguous(), pairs_in_memory(grad_where, channels_last)
    batch, channels, out_height, out_width = grad_what.shape
    size = (batch, channels, out_height, out_width)
    window = Window.of(kernel_size, stride, padding, (1, 1))
    wide = accumulation_dtype(x.dtype)
    grad_x = torch.empty_like(x, memory_format=layout)
    beta_sums = torch.empty(size, dtype=wide, device=x.device, memory_format=layout) if beta_grad else grad_x
    if x.numel() > 0:
        _launch(x, beta, grad_what, grad_where, grad_x, beta_sums, size, window, beta_grad, channels_last)
    grad_beta = beta_sums.sum((2, 3)) if beta_grad else torch.zeros(size[:2], dtype=wide, device=x.device)
    return grad_x, grad_beta


def _launch(
    x: Tensor,
    beta: Tensor,
    grad_what: Tensor,
    grad_where: Tensor,
    grad_x: Tensor,
    beta_sums: Tensor,
    size: tuple[int, int, int, int],
    window: Window,
    beta_grad: bool,
    channels_last: bool,
) -> None:
    batch, channels, height, width = x.shape
    windows = size[2:]
    tiled = window.kernel_height == window.stride_height and window.kernel_width == window.stride_width
    tiled = tiled and (height, width) == (windows[0] * window.stride_height, windows[1] * window.stride_width)
    grid, rows, inner, tiling = tile_map(*size, channels_last, elements=SOFT_TILE)
    with torch.cuda.device_of(x):
        if tiled and window.padding_height == window.padding_width == 0:
            soft_argmax_pool2d_backward_cells_kernel[grid](
                x, beta, grad_what, grad_where, grad_x, beta_sums, rows, inner, height, width, *windows, beta_grad, window,
                tiling, num_warps=WARPS,
            )  # fmt: skip
            return
        count = grad_what.numel()
        numbers = torch.empty((NUMBERS, count), dtype=beta.dtype, device=x.device)
        soft_argmax_pool2d_backward_windows_kernel[grid](
            x, beta, grad_what, grad_where, numbers, beta_sums, rows, inner, height, width, *windows, count, beta_grad,
            window, tiling, num_warps=WARPS,
        )  # fmt: skip
        grid, rows, inner, tiling = tile_map(batch, channels, height, width, channels_last, elements=SOFT_TILE)
        soft_argmax_pool2d_backward_pixels_kernel[grid](
            x, beta, grad_what, grad_where, numbers, grad_x, rows, inner, height, width, *windows, count, window, tiling,
            num_warps=WARPS,
        )  # fmt: skip

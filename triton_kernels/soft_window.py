"""The softmax of a window: what soft_argmax_pool2d and its gradient share."""

from __future__ import annotations

import triton
import triton.language as tl

from .tile import WARPS
from .window import load_tap

# Two elements a thread: the sums of a window take five times the registers of its maximum.
SOFT_TILE = 64 * WARPS

# For the same reason only windows of 2 x 2 are unrolled, and so many windows over a pixel.
UNROLLED = tl.constexpr(4)


@triton.jit
def tap_position(tap, like, KERNEL: tl.constexpr):
    """Where a tap stands along an axis of KERNEL taps: evenly from -1 to 1, at 0 if there is one."""
    position = tl.zeros_like(like) + (2 * tap - (KERNEL - 1))
    if KERNEL > 1:
        count = tl.zeros_like(like) + (KERNEL - 1)
        # The plain `/` of float32 is an approximation on the GPU.
        position = position / count if like.dtype == tl.float64 else tl.div_rn(position, count)
    return position


@triton.jit
def quotient(total, divisor):
    """total / divisor rounded to nearest."""
    return total / divisor if total.dtype == tl.float64 else tl.div_rn(total, divisor)


@triton.jit
def plane_beta(beta, image, channel, channels, inside):
    """beta of the planes of a tile; NaN where it is negative or not finite."""
    value = tl.load(beta + image.to(tl.int64) * channels + channel, mask=inside, other=0.0)
    return tl.where((value >= 0) & (value < float("inf")), value, float("nan"))


@triton.jit
def window_tap(x, image, channel, oh, ow, r, c, height, width, channels, inside, like, window: tl.constexpr):
    """Tap (r, c) of window (oh, ow) in the type of the sums, and whether it is real."""
    h = oh * window.stride_height - window.padding_height + r
    w = ow * window.stride_width - window.padding_width + c
    value, real = load_tap(x, image, channel, h, w, height, width, channels, inside)
    return value.to(like.dtype), real


@triton.jit
def below(value, real, maximum):
    """How far a tap lies below the maximum (equal infinities by 0), and whether it counts: not if infinitely far."""
    far = tl.where(value == maximum, 0.0, value - maximum)
    counts = real & (far != float("-inf"))
    return tl.where(counts, far, 0.0), counts


@triton.jit
def power_of(value, real, maximum, beta):
    """The distance of a tap from the maximum, and its power."""
    far, counts = below(value, real, maximum)
    return far, tl.where(counts, tl.exp(beta * far), 0.0)


@triton.jit
def soft_window(
    x, beta, like, image, channel, oh, ow, height, width, channels, inside, window: tl.constexpr,
):  # fmt: skip
    """(maximum, sum of the powers, mean value less the maximum, mean column, mean row) of window (oh, ow).

    like has the shape of the tile and the type of the sums. The taps are read twice, the second time from cache.
    """
    KERNEL_WIDTH: tl.constexpr = window.kernel_width
    TAPS: tl.constexpr = window.taps
    maximum = tl.zeros_like(like) + float("-inf")
    total = tl.zeros_like(like)
    mean = tl.zeros_like(like)
    column = tl.zeros_like(like)
    row = tl.zeros_like(like)
    if window.taps <= UNROLLED:
        for tap in tl.static_range(TAPS):
            value, real = window_tap(x, image, channel, oh, ow, tap // KERNEL_WIDTH, tap % KERNEL_WIDTH, height, width,
                                     channels, inside, like, window)  # fmt: skip
            maximum = tl.where(real & (value > maximum), value, maximum)
        for tap in tl.static_range(TAPS):
            value, real = window_tap(x, image, channel, oh, ow, tap // KERNEL_WIDTH, tap % KERNEL_WIDTH, height, width,
                                     channels, inside, like, window)  # fmt: skip
            far, power = power_of(value, real, maximum, beta)
            total += power
            mean += power * far
            column += power * tap_position(tap % KERNEL_WIDTH, like, window.kernel_width)
            row += power * tap_position(tap // KERNEL_WIDTH, like, window.kernel_height)
    else:
        for tap in range(TAPS):
            value, real = window_tap(x, image, channel, oh, ow, tap // KERNEL_WIDTH, tap % KERNEL_WIDTH, height, width,
                                     channels, inside, like, window)  # fmt: skip
            maximum = tl.where(real & (value > maximum), value, maximum)
        for tap in range(TAPS):
            value, real = window_tap(x, image, channel, oh, ow, tap // KERNEL_WIDTH, tap % KERNEL_WIDTH, height, width,
                                     channels, inside, like, window)  # fmt: skip
            far, power = power_of(value, real, maximum, beta)
            total += power
            mean += power * far
            column += power * tap_position(tap % KERNEL_WIDTH, like, window.kernel_width)
            row += power * tap_position(tap // KERNEL_WIDTH, like, window.kernel_height)
    return maximum, total, quotient(mean, total), quotient(column, total), quotient(row, total)


@triton.jit
def load_pair(pairs, address, inside):
    """(x, y) at a position of a map."""
    return tl.load(pairs + 2 * address, mask=inside, other=0.0), tl.load(pairs + 2 * address + 1, mask=inside, other=0.0)


@triton.jit
def store_pair(pairs, address, column, row, inside):
    """Write (column, row) at a position of a map."""
    tl.store(pairs + 2 * address, column, mask=inside)
    tl.store(pairs + 2 * address + 1, row, mask=inside)


@triton.jit
def sums_like(x, inside):
    """Zeros of the shape of a tile in the type of the sums: float32 for 16-bit floats."""
    accumulator: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    return tl.zeros(inside.shape, accumulator)

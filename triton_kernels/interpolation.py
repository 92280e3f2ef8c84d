"""Linear interpolation between the taps of an axis: what soft_argmax_unpool2d and its gradient share."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def interpolate(position, KERNEL: tl.constexpr):
    """(lower tap, share of the tap above, slope of that share) for a position of [-1, 1] on an axis of KERNEL taps.

    Beyond [-1, 1] it counts as the nearer end, and a NaN lies between the first two taps. A single tap has it all.
    """
    if KERNEL == 1:
        lower = tl.zeros(position.shape, tl.int32)
        share = tl.zeros_like(position)
        slope = tl.zeros_like(position)
    else:
        SCALE: tl.constexpr = (KERNEL - 1) / 2
        clamped = tl.where(position > 1, 1.0, tl.where(position < -1, -1.0, position))
        at = (clamped + 1) * SCALE
        lower = tl.minimum(tl.where(at == at, at, 0.0).to(tl.int32), KERNEL - 2)
        share = at - lower.to(position.dtype)
        slope = tl.where((position > 1) | (position < -1), 0.0, tl.zeros_like(position) + SCALE)
    return lower, share, slope


@triton.jit
def tap_weight(lower, share, tap):
    return tl.where(tap == lower, 1 - share, tl.where(tap == lower + 1, share, 0.0))


@triton.jit
def times(weight, x):
    """The product, 0 where the weight is 0, whatever x is."""
    return tl.where(weight == 0, 0.0, weight * x)


@triton.jit
def share_of_tap(value, row_lower, row_share, column_lower, column_share, r, c):
    """What tap (r, c) of a window gets of its value."""
    row = tap_weight(row_lower, row_share, r)
    column = tap_weight(column_lower, column_share, c)
    return times(tl.where(row == 0, 0.0, times(column, row)), value)

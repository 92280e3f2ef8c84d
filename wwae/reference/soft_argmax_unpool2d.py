"""Interpolating unpooling: a value is split over the four taps around its continuous position."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wwae.reference.soft_argmax_pool2d import per_window
from wwae.reference.taps import add_windows
from wwae.reference.window import Pair, memory_format


class Axis(NamedTuple):
    """Interpolation along one axis of ``K`` taps, both ``(N, C, OH, OW, K)``."""

    weights: Tensor
    slopes: Tensor  # derivatives of the weights in the position


def interpolation(position: Tensor, kernel_size: int) -> Axis:
    """Linear weights of the two taps around ``position`` ``(N, C, OH, OW)``; beyond [-1, 1] it counts as the nearer end.

    A NaN lies between the first two taps.
    """
    if kernel_size == 1:
        one = torch.ones_like(position).unsqueeze(-1)
        return Axis(one, torch.zeros_like(one))
    # torch.clamp has no fixed derivative at its bounds, where most positions lie when beta is large.
    clamped = torch.where(position < -1, -1, torch.where(position > 1, 1, position))
    scale = (kernel_size - 1) / 2
    at = (clamped + 1) * scale
    lower = torch.where(at.isnan(), 0, torch.where(at < kernel_size - 2, at.detach().floor(), kernel_size - 2))
    upper_share = (at - lower).unsqueeze(-1)
    taps = torch.arange(kernel_size, dtype=position.dtype, device=position.device)
    is_lower, is_upper = taps == lower.unsqueeze(-1), taps == lower.unsqueeze(-1) + 1
    weights = torch.where(is_lower, 1 - upper_share, torch.where(is_upper, upper_share, 0))
    inside = ~((position < -1) | (position > 1)).unsqueeze(-1)
    slopes = torch.where(inside & is_lower, -scale, torch.where(inside & is_upper, scale, 0.0)).to(position.dtype)
    return Axis(weights, slopes)


def axes_of(where: Tensor, kernel_size: Pair) -> tuple[Axis, Axis]:
    """Interpolation along the rows and along the columns of windows whose ``(x, y)`` is ``where`` ``(N, C, OH, OW, 2)``."""
    return interpolation(where[..., 1], kernel_size[0]), interpolation(where[..., 0], kernel_size[1])


def outer(rows: Tensor, columns: Tensor) -> Tensor:
    """``(N, C, OH, OW, KH, KW)`` from ``(…, KH)`` and ``(…, KW)``."""
    return rows.unsqueeze(-1) * columns.unsqueeze(-2)


def tap_weights(rows: Tensor, columns: Tensor) -> Tensor:
    """``outer``, but 0 where the weight of the row or of the column is 0, whatever the other is."""
    rows, columns = rows.unsqueeze(-1), columns.unsqueeze(-2)
    return torch.where(rows == 0, 0, times(columns, rows))


def times(weights: Tensor, x: Tensor) -> Tensor:
    """The product, 0 where the weight is 0, whatever ``x`` is."""
    return torch.where(weights == 0, 0, weights * x)


def soft_argmax_unpool2d_reference(
    what: Tensor, where: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, output_size: Pair
) -> Tensor:
    """Map ``(N, C, H, W)`` of ``output_size`` in the dtype of ``what``; ``where`` is in the type of its sums.

    Overlapping windows add, and the sum is rounded once. A tap of weight 0 gets nothing, also of an infinite value.
    """
    rows, columns = axes_of(where, kernel_size)
    taps = times(tap_weights(rows.weights, columns.weights), per_window(what.to(where.dtype)))
    full = add_windows(taps, stride, padding, output_size).to(what.dtype)
    return full.contiguous(memory_format=memory_format(what))


def weights_tangent(rows: Axis, columns: Axis, where_tangent: Tensor) -> Tensor:
    """Derivative of a window's weights when its position moves by ``where_tangent``."""
    x, y = where_tangent.unsqueeze(-2).unbind(-1)
    return outer(rows.slopes * y, columns.weights) + outer(rows.weights, columns.slopes * x)


def soft_argmax_unpool2d_tangent(
    what: Tensor,
    where: Tensor,
    what_tangent: Tensor,
    where_tangent: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    output_size: Pair,
) -> Tensor:
    """Directional derivative of the map, made of operations that PyTorch differentiates again."""
    rows, columns = axes_of(where, kernel_size)
    taps = outer(rows.weights, columns.weights) * per_window(what_tangent.to(where.dtype))
    taps = taps + weights_tangent(rows, columns, where_tangent) * per_window(what.to(where.dtype))
    return add_windows(taps, stride, padding, output_size).to(what.dtype)

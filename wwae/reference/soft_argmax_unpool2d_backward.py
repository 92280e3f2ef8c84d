"""The gradient of interpolating unpooling in the values and in their positions."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.reference.soft_argmax_pool2d import TAPS, per_window
from wwae.reference.soft_argmax_unpool2d import axes_of, outer, tap_weights, times, weights_tangent
from wwae.reference.taps import pairs_in_layout, window_taps
from wwae.reference.window import Pair, memory_format, spatial_size


def soft_argmax_unpool2d_backward_reference(
    what: Tensor, where: Tensor, grad: Tensor, kernel_size: Pair, stride: Pair, padding: Pair
) -> tuple[Tensor, Tensor]:
    """Gradients in ``what`` and ``where``, in their dtypes and in the layout of ``what``.

    That in ``what`` is the interpolated gradient of the map, that in ``where`` is ``what`` times the slope of the interpolation:
    the difference of neighbouring taps, 0 strictly outside [-1, 1]. Outside of the map the gradient counts as 0.
    """
    rows, columns = axes_of(where, kernel_size)
    taps = window_taps(grad.to(where.dtype), spatial_size(what), kernel_size, stride, padding)
    layout = memory_format(what)
    grad_what = times(tap_weights(rows.weights, columns.weights), taps).sum(TAPS).to(what.dtype)
    x_slopes = tap_weights(rows.weights, columns.slopes)
    y_slopes = tap_weights(rows.slopes, columns.weights)
    x, y = (times(times(slopes, taps).sum(TAPS), what.to(where.dtype)) for slopes in (x_slopes, y_slopes))
    return grad_what.contiguous(memory_format=layout), pairs_in_layout(torch.stack((x, y), dim=-1), layout)


def soft_argmax_unpool2d_backward_tangent(
    what: Tensor,
    where: Tensor,
    grad: Tensor,
    what_tangent: Tensor,
    where_tangent: Tensor,
    grad_tangent: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
) -> tuple[Tensor, Tensor]:
    """Directional derivatives of both gradients, made of operations that PyTorch differentiates again."""
    rows, columns = axes_of(where, kernel_size)
    windows, wide = spatial_size(what), where.dtype
    taps, moves = (window_taps(g.to(wide), windows, kernel_size, stride, padding) for g in (grad, grad_tangent))
    values, value_moves = per_window(what.to(wide)), per_window(what_tangent.to(wide))
    weights = outer(rows.weights, columns.weights)
    grad_what = (weights_tangent(rows, columns, where_tangent) * taps + weights * moves).sum(TAPS)
    # Along one axis the weights are linear in the position, so only the other axis changes a slope.
    x, y = where_tangent.unsqueeze(-2).unbind(-1)
    both = outer(rows.slopes, columns.slopes)
    pairs = []
    for slope, across in ((outer(rows.weights, columns.slopes), y), (outer(rows.slopes, columns.weights), x)):
        moved = (value_moves * slope + values * both * across.unsqueeze(-1)) * taps + values * slope * moves
        pairs.append(moved.sum(TAPS))
    return grad_what.to(what.dtype), torch.stack(pairs, dim=-1)

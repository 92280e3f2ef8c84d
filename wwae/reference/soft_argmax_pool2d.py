"""Soft-argmax pooling: a softmax over each window, the mean of its values under it, and the mean of their positions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wwae.reference.taps import pairs_in_layout, tap_positions, window_taps
from wwae.reference.window import Pair, accumulation_dtype, memory_format, pooled_sizes, spatial_size

TAPS = (-2, -1)
"""The axes of a tensor ``(N, C, OH, OW, KH, KW)`` over which a window is summed."""


def per_window(x: Tensor) -> Tensor:
    """``x`` ``(N, C)`` or ``(N, C, OH, OW)`` as a factor of tensors ``(N, C, OH, OW, KH, KW)``."""
    return x.reshape(*x.shape, *(1,) * (6 - x.dim()))


class SoftWindows(NamedTuple):
    """The softmax of every window. Per tap: ``(N, C, OH, OW, KH, KW)``; ``x`` and ``y`` broadcast to it."""

    maximum: Tensor  # (N, C, OH, OW)
    mean: Tensor  # of the values under the weights, less the maximum; (N, C, OH, OW)
    where: Tensor  # mean of the positions (x, y); (N, C, OH, OW, 2)
    weights: Tensor
    beta: Tensor  # broadcasts to the weights
    value: Tensor  # of a tap, less the mean of its window
    x: Tensor  # column of a tap, less the mean of its window
    y: Tensor  # row of a tap, less the mean of its window


def soft_windows(x: Tensor, beta: Tensor, kernel_size: Pair, stride: Pair, padding: Pair) -> SoftWindows:
    """The softmax of ``beta`` ``(N, C)`` times the taps, with the maximum subtracted first, so that no power overflows."""
    wide = x.to(accumulation_dtype(x.dtype))
    windows = pooled_sizes(spatial_size(x), kernel_size, stride, padding, (1, 1), False)
    geometry = windows, kernel_size, stride, padding
    taps = window_taps(wide, *geometry)
    real = window_taps(torch.ones((1, 1, *spatial_size(x)), dtype=wide.dtype, device=x.device), *geometry) != 0
    maximum = torch.where(real, taps, -torch.inf).detach().amax(TAPS)
    top = per_window(maximum)
    # Equal infinities differ by NaN.
    below = torch.where((taps == top) & top.isinf(), 0, taps - top)
    counts = real & (below != -torch.inf)
    below = torch.where(counts, below, 0)
    factor = per_window(torch.where((beta >= 0) & (beta < torch.inf), beta, torch.nan))
    powers = torch.where(counts, torch.exp(factor * below), 0)
    weights = powers / powers.sum(TAPS, keepdim=True)
    columns = tap_positions(kernel_size[1], wide)
    rows = tap_positions(kernel_size[0], wide).unsqueeze(-1)
    mean = (weights * below).sum(TAPS)
    where = torch.stack(((weights * columns).sum(TAPS), (weights * rows).sum(TAPS)), dim=-1)
    return SoftWindows(
        maximum,
        mean,
        where,
        weights,
        factor,
        below - per_window(mean),
        columns - per_window(where[..., 0]),
        rows - per_window(where[..., 1]),
    )


def soft_argmax_pool2d_reference(x: Tensor, beta: Tensor, kernel_size: Pair, stride: Pair, padding: Pair) -> tuple[Tensor, Tensor]:
    """``what`` ``(N, C, OH, OW)`` in the dtype of ``x``, ``where`` ``(N, C, OH, OW, 2)`` in the type of its sums.

    ``beta`` ``(N, C)`` is of that type; one that is negative or not finite makes its plane NaN. Padding has no weight. A tap that
    lies infinitely far below the maximum of its window has none either, at ``beta = 0`` too; a NaN makes its window NaN.
    """
    soft = soft_windows(x, beta, kernel_size, stride, padding)
    layout = memory_format(x)
    what = (soft.maximum + soft.mean).to(x.dtype)
    return what.contiguous(memory_format=layout), pairs_in_layout(soft.where, layout)


def weights_tangent(soft: SoftWindows, x_taps: Tensor, beta_tangent: Tensor) -> Tensor:
    """Derivative of the weights when the taps move by ``x_taps`` and ``beta`` by ``beta_tangent`` ``(N, C)``."""
    moved = x_taps - (soft.weights * x_taps).sum(TAPS, keepdim=True)
    return soft.weights * (per_window(beta_tangent) * soft.value + soft.beta * moved)


def soft_argmax_pool2d_tangent(
    x: Tensor, beta: Tensor, x_tangent: Tensor, beta_tangent: Tensor, kernel_size: Pair, stride: Pair, padding: Pair
) -> tuple[Tensor, Tensor]:
    """Directional derivatives of ``what`` and ``where``, made of operations that PyTorch differentiates again."""
    soft = soft_windows(x, beta, kernel_size, stride, padding)
    taps = window_taps(x_tangent.to(soft.weights.dtype), spatial_size(soft.maximum), kernel_size, stride, padding)
    weights = weights_tangent(soft, taps, beta_tangent)
    what = (weights * soft.value + soft.weights * taps).sum(TAPS)
    where = torch.stack(((weights * soft.x).sum(TAPS), (weights * soft.y).sum(TAPS)), dim=-1)
    return what.to(x.dtype), where

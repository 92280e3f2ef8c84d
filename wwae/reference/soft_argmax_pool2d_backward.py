"""The gradient of soft-argmax pooling in its input and in its sharpness."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.reference.soft_argmax_pool2d import TAPS, SoftWindows, per_window, soft_windows, weights_tangent
from wwae.reference.taps import add_windows, window_taps
from wwae.reference.window import Pair, memory_format, spatial_size


def _pull(soft: SoftWindows, what: Tensor, where: Tensor) -> Tensor:
    """How the result, weighted by the gradients ``what`` and ``where``, grows when weight moves onto a tap."""
    return per_window(what) * soft.value + per_window(where[..., 0]) * soft.x + per_window(where[..., 1]) * soft.y


def soft_argmax_pool2d_backward_reference(
    x: Tensor,
    beta: Tensor,
    grad_what: Tensor,
    grad_where: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    beta_grad: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients in ``x``, in its dtype and layout, and in ``beta`` ``(N, C)``; the latter is 0 unless ``beta_grad``.

    With weights ``w``: ``w (g + beta h)`` at a tap and ``sum of w (z - what) h`` for ``beta``, where ``g`` is the gradient in
    ``what`` and ``h = g (z - what) + gradient in where . (position - where)``. Overlapping windows add before the sum is rounded.
    """
    soft = soft_windows(x, beta, kernel_size, stride, padding)
    what = grad_what.to(soft.weights.dtype)
    pull = _pull(soft, what, grad_where)
    taps = soft.weights * (per_window(what) + soft.beta * pull)
    grad_x = add_windows(taps, stride, padding, spatial_size(x)).to(x.dtype)
    grad_beta = (soft.weights * soft.value * pull).sum(TAPS).sum(TAPS) if beta_grad else torch.zeros_like(soft.maximum[..., 0, 0])
    return grad_x.contiguous(memory_format=memory_format(x)), grad_beta


def soft_argmax_pool2d_backward_tangent(
    x: Tensor,
    beta: Tensor,
    grad_what: Tensor,
    grad_where: Tensor,
    x_tangent: Tensor,
    beta_tangent: Tensor,
    what_tangent: Tensor,
    where_tangent: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
) -> tuple[Tensor, Tensor]:
    """Directional derivatives of both gradients, made of operations that PyTorch differentiates again."""
    soft = soft_windows(x, beta, kernel_size, stride, padding)
    wide = soft.weights.dtype
    what, what_moves = grad_what.to(wide), what_tangent.to(wide)
    taps = window_taps(x_tangent.to(wide), spatial_size(soft.maximum), kernel_size, stride, padding)
    weights = weights_tangent(soft, taps, beta_tangent)
    pull = _pull(soft, what, grad_where)
    value = taps - (weights * soft.value + soft.weights * taps).sum(TAPS, keepdim=True)
    position = per_window(grad_where[..., 0]) * (weights * soft.x).sum(TAPS, keepdim=True)
    position = position + per_window(grad_where[..., 1]) * (weights * soft.y).sum(TAPS, keepdim=True)
    pull_moves = _pull(soft, what_moves, where_tangent) + per_window(what) * value - position
    slope = per_window(what_moves) + per_window(beta_tangent) * pull + soft.beta * pull_moves
    moved = weights * (per_window(what) + soft.beta * pull) + soft.weights * slope
    grad_beta = weights * soft.value * pull + soft.weights * (value * pull + soft.value * pull_moves)
    return add_windows(moved, stride, padding, spatial_size(x)).to(x.dtype), grad_beta.sum(TAPS).sum(TAPS)

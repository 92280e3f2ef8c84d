"""The gradient of soft-argmax pooling: ``w (g + beta h)`` at every tap, and the sum of ``w (z - what) h`` for ``beta``.

``w`` is the softmax of ``beta z`` over the window, ``g`` the gradient in ``what``, and ``h = g (z - what) + (gradient in where) .
(position - where)``. From equations 3 and 4 of Zhao et al. 2015, arXiv:1506.02351.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops._layout import in_layout_of
from wwae.ops._library import Differentiable, define
from wwae.reference.soft_argmax_pool2d import soft_argmax_pool2d_tangent
from wwae.reference.soft_argmax_pool2d_backward import soft_argmax_pool2d_backward_tangent
from wwae.reference.window import Pair, memory_format

__all__: list[str] = []

NAME = "soft_argmax_pool2d_backward"


def _fake(
    x: Tensor,
    beta: Tensor,
    grad_what: Tensor,
    grad_where: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    beta_grad: bool,
) -> tuple[Tensor, Tensor]:
    check.require_dtype(NAME, "x", x)
    check.require_geometry(NAME, kernel_size, stride, padding, (1, 1))
    windows = check.require_windows(NAME, x, kernel_size, stride, padding, (1, 1), False)
    check.require_plane_values(NAME, "beta", beta, x)
    check.require_like(NAME, "grad_what", grad_what, (*x.shape[:2], *windows), x.dtype, x)
    check.require_like(NAME, "grad_where", grad_where, (*x.shape[:2], *windows, 2), beta.dtype, x)
    grad_x = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))
    return grad_x, torch.empty(x.shape[:2], dtype=beta.dtype, device=x.device)


class SoftArgmaxPool2dBackward(Differentiable):
    """``v J``, with ``J`` the derivative of pooling. It is linear in ``v``, so its derivative there is pooling's forward mode.

    Its derivative in ``x`` and ``beta`` is the Hessian of ``v . pooling``, which is symmetric: one formula serves both modes.
    """

    operation = define(
        f"{NAME}(Tensor x, Tensor beta, Tensor grad_what, Tensor grad_where, SymInt[2] kernel_size, SymInt[2] stride,"
        " SymInt[2] padding, bool beta_grad) -> (Tensor, Tensor)",
        _fake,
    )
    tensors = 4

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        *tensors, kernel_size, stride, padding, ctx.beta_grad = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.geometry = kernel_size, stride, padding

    @staticmethod
    def backward(ctx: Any, grad_x: Tensor, grad_beta: Tensor) -> tuple:
        x, beta, what, where = ctx.saved_tensors
        direction = grad_x, grad_beta if ctx.beta_grad else torch.zeros_like(grad_beta)
        still = torch.zeros_like(what), torch.zeros_like(where)
        inputs = soft_argmax_pool2d_backward_tangent(x, beta, what, where, *direction, *still, *ctx.geometry)
        gradients = soft_argmax_pool2d_tangent(x, beta, *direction, *ctx.geometry)
        return *inputs, *gradients, None, None, None, None  # geometry, beta_grad

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, ...]:
        tensors = ctx.saved_tensors
        directions = [torch.zeros_like(t) if d is None else d for t, d in zip(tensors, tangents[:4], strict=True)]
        grad_x, grad_beta = soft_argmax_pool2d_backward_tangent(*tensors, *directions, *ctx.geometry)
        return in_layout_of(tensors[0], grad_x, grad_beta if ctx.beta_grad else torch.zeros_like(grad_beta))

"""The gradient of interpolating unpooling: the map's gradient interpolated, and ``what`` times the slope of the interpolation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops._layout import in_layout_of
from wwae.ops._library import Differentiable, define
from wwae.reference.soft_argmax_unpool2d import soft_argmax_unpool2d_tangent
from wwae.reference.soft_argmax_unpool2d_backward import soft_argmax_unpool2d_backward_tangent
from wwae.reference.taps import empty_pairs
from wwae.reference.window import Pair, memory_format, spatial_size

__all__: list[str] = []

NAME = "soft_argmax_unpool2d_backward"


def _fake(what: Tensor, where: Tensor, grad: Tensor, kernel_size: Pair, stride: Pair, padding: Pair) -> tuple[Tensor, Tensor]:
    check.require_dtype(NAME, "what", what)
    check.require_geometry(NAME, kernel_size, stride, padding, (1, 1))
    check.require_positions(NAME, where, what)
    check.require_like(NAME, "grad", grad, (*what.shape[:2], *grad.shape[2:]), what.dtype, what)
    layout = memory_format(what)
    grad_what = torch.empty(what.shape, dtype=what.dtype, device=what.device, memory_format=layout)
    return grad_what, empty_pairs(what, spatial_size(what), where.dtype, layout)


class SoftArgmaxUnpool2dBackward(Differentiable):
    """``v J``, with ``J`` the derivative of unpooling; its own derivatives are as those of ``SoftArgmaxPool2dBackward``."""

    operation = define(
        f"{NAME}(Tensor what, Tensor where, Tensor grad, SymInt[2] kernel_size, SymInt[2] stride, SymInt[2] padding)"
        " -> (Tensor, Tensor)",
        _fake,
    )
    tensors = 3

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        *tensors, kernel_size, stride, padding = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.geometry = kernel_size, stride, padding

    @staticmethod
    def backward(ctx: Any, grad_what: Tensor, grad_where: Tensor) -> tuple:
        what, where, grad = ctx.saved_tensors
        still = torch.zeros_like(grad)
        inputs = soft_argmax_unpool2d_backward_tangent(what, where, grad, grad_what, grad_where, still, *ctx.geometry)
        geometry = *ctx.geometry, spatial_size(grad)
        full = soft_argmax_unpool2d_tangent(what, where, grad_what, grad_where, *geometry)
        return *inputs, full, None, None, None  # geometry

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, ...]:
        tensors = ctx.saved_tensors
        directions = [torch.zeros_like(t) if d is None else d for t, d in zip(tensors, tangents[:3], strict=True)]
        return in_layout_of(tensors[0], *soft_argmax_unpool2d_backward_tangent(*tensors, *directions, *ctx.geometry))

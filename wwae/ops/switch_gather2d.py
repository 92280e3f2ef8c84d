"""The transpose of unpooling: ``v[n, c, oh, ow] = y[n, c, switch of (oh, ow)]``.

It is the derivative of pooling in forward mode and of unpooling in reverse mode; the two linear operations, each the transpose
of the other, close the derivatives of every order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops import switch_unpool2d as unpool
from wwae.ops._library import Differentiable, define
from wwae.reference.window import Pair, memory_format, spatial_size

__all__: list[str] = []

NAME = "switch_gather2d"


def _fake(x: Tensor, offsets: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, overlap: str) -> Tensor:
    check.require_dtype(NAME, "x", x)
    check.require_geometry(NAME, kernel_size, stride, padding, dilation)
    check.require_offsets(NAME, offsets, kernel_size)
    check.require_overlap(NAME, overlap)
    return torch.empty(offsets.shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


class SwitchGather2d(Differentiable):
    """Linear in ``x``; the transpose is the unpooling with the same overlap."""

    operation = define(
        f"{NAME}(Tensor x, Tensor offsets, SymInt[2] kernel_size, SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation,"
        " str overlap) -> Tensor",
        _fake,
    )
    tensors = 2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, offsets, kernel_size, stride, padding, dilation, ctx.overlap = inputs
        ctx.save_for_backward(offsets)
        ctx.save_for_forward(offsets)
        ctx.geometry = kernel_size, stride, padding, dilation
        ctx.input_size = spatial_size(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (offsets,) = ctx.saved_tensors
        full = unpool.SwitchUnpool2d.run(unpool.in_layout_of(grad, offsets), offsets, *ctx.geometry, ctx.input_size, ctx.overlap)
        return full, None, None, None, None, None, None  # offsets, geometry, overlap

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_constants: Any) -> Tensor:
        (offsets,) = ctx.saved_tensors
        return SwitchGather2d.run(tangent, offsets, *ctx.geometry, ctx.overlap)

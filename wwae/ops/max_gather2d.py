"""The transpose of unpooling by int64 indices: it reads the map at each index, 0 for a window that a later one overwrites."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops import max_unpool2d as unpool
from wwae.ops._library import Differentiable, define
from wwae.reference.window import memory_format, spatial_size

__all__: list[str] = []

NAME = "max_gather2d"


def _fake(x: Tensor, indices: Tensor) -> Tensor:
    check.require_dtype(NAME, "x", x)
    return torch.empty(indices.shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


class MaxGather2d(Differentiable):
    """Linear in ``x``; the transpose is the unpooling."""

    operation = define(f"{NAME}(Tensor x, Tensor indices) -> Tensor", _fake)
    tensors = 2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, indices = inputs
        ctx.save_for_backward(indices)
        ctx.save_for_forward(indices)
        ctx.input_size = spatial_size(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (indices,) = ctx.saved_tensors
        return unpool.MaxUnpool2d.run(grad, indices, ctx.input_size), None  # indices

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_constants: Any) -> Tensor:
        (indices,) = ctx.saved_tensors
        return MaxGather2d.run(tangent, indices)

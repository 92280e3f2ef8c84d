"""PyTorch's ``max_unpool2d``: the same signature and values, deterministic, with its true gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops import max_gather2d as gather
from wwae.ops._batch import as_given, batched
from wwae.ops._library import Differentiable, define
from wwae.reference.window import Pair, memory_format

__all__ = ["max_unpool2d"]

NAME = "max_unpool2d"


def _fake(x: Tensor, indices: Tensor, output_size: Pair) -> Tensor:
    check.require_dtype(NAME, "x", x)
    require_indices(NAME, "x", x, indices)
    return torch.empty((*x.shape[:2], *output_size), dtype=x.dtype, device=x.device, memory_format=memory_format(x))


class MaxUnpool2d(Differentiable):
    """Linear in ``x``; the transpose reads each index, 0 for a window that a later one overwrites."""

    operation = define(f"{NAME}(Tensor x, Tensor indices, SymInt[2] output_size) -> Tensor", _fake)
    tensors = 2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, indices, ctx.output_size = inputs
        ctx.save_for_backward(indices)
        ctx.save_for_forward(indices)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (indices,) = ctx.saved_tensors
        return gather.MaxGather2d.run(grad, indices), None, None  # indices, output_size

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_constants: Any) -> Tensor:
        (indices,) = ctx.saved_tensors
        return MaxUnpool2d.run(tangent, indices, ctx.output_size)


def require_indices(operation: str, argument: str, x: Tensor, indices: Tensor) -> None:
    """Refuse indices that are not an int64 tensor of the shape and on the device of ``x``."""
    if not isinstance(indices, Tensor):
        raise TypeError(f"{operation}: expected indices to be a tensor, got {type(indices).__name__}")
    if indices.dtype != torch.int64:
        raise RuntimeError(f"{operation}: elements in indices should be type int64 but got: {indices.dtype}")
    if indices.shape != x.shape:
        raise RuntimeError(
            f"{operation}: Expected shape of indices to be same as that of the input tensor ({tuple(x.shape)}) "
            f"but got indices tensor with shape: {tuple(indices.shape)}"
        )
    check.require_same_device(operation, "indices", indices, x)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """:func:`torch.nn.functional.max_unpool2d`: the same arguments and values; deterministic on every device.

    Where several windows share an index the last one in raster order wins, as in PyTorch on one CPU thread (on several and on
    CUDA its threads race), and the gradient goes to that window alone. PyTorch sends it to all of them, which is not the
    derivative of its forward.

    Args:
        input (Tensor[N, C, OH, OW] or Tensor[C, OH, OW], float32 | float64 | bfloat16 | float16): pooled values.
        indices (Tensor of the shape of ``input``, int64): ``h * W + w`` in the plane that is made.
        kernel_size, stride, padding (int or pair): of the pooling; they give the default output size.
        output_size (sequence of 2 or 4 ints): less than one stride away from the default.

    Returns:
        Tensor[N, C, H, W] in the dtype and memory format of ``input``, 0 where no index points.

    Raises:
        TypeError, ValueError, RuntimeError: as PyTorch's function; an index outside the plane raises RuntimeError on the CPU and
            names the first; on CUDA it writes nothing and trips a device assertion.

    Example:
        >>> wwae.ops.max_unpool2d(torch.tensor([[[[5.0]]]]), torch.tensor([[[[1]]]]), 2).tolist()
        [[[[0.0, 5.0], [0.0, 0.0]]]]
    """
    check.require_dtype(NAME, "input", input)
    require_indices(NAME, "input", input, indices)
    if input.dim() not in (3, 4) or 0 in input.shape[1:]:
        raise RuntimeError(
            f"{NAME}: Input to max_unpooling2d should be a 3d or 4d Tensor: expected input of shape (N, C, OH, OW) "
            f"or (C, OH, OW), got {tuple(input.shape)}"
        )
    kernel = check.pair(NAME, "kernel_size", kernel_size)
    steps = kernel if stride is None else check.pair(NAME, "stride", stride)
    size = check.unpooled_size(NAME, input, kernel, steps, check.pair(NAME, "padding", padding), output_size)
    return as_given(input, MaxUnpool2d.run(*batched(input, indices), size))[0]

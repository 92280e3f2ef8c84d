"""PyTorch's ``max_pool2d``: the same signature and results, and one byte a window kept for backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops._batch import as_given, batched
from wwae.ops._library import Differentiable, define, only_first_differentiable
from wwae.ops._pooled import empty_pooled
from wwae.ops.switch_gather2d import SwitchGather2d
from wwae.ops.switch_pool2d import SwitchPool2d
from wwae.ops.switch_unpool2d import SwitchUnpool2d, in_layout_of
from wwae.reference.window import Pair, offset_dtype, spatial_size

__all__ = ["max_pool2d"]

NAME = "max_pool2d"


def _fake(
    x: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Tensor, Tensor, Tensor]:
    geometry = kernel_size, stride, padding, dilation, ceil_mode
    values, indices, offsets = empty_pooled(NAME, x, *geometry, x.dtype, torch.int64, offset_dtype(kernel_size))
    return values, indices, offsets


class MaxPool2d(Differentiable):
    """As ``SwitchPool2d``: the offsets, not the indices, are kept for the derivatives."""

    operation = define(
        f"{NAME}(Tensor x, SymInt[2] kernel_size, SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation, bool ceil_mode)"
        " -> (Tensor, Tensor, Tensor)",
        _fake,
    )
    tensors = 1

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
        x, kernel_size, stride, padding, dilation, _ = inputs
        _, indices, offsets = output
        only_first_differentiable(ctx, indices, offsets)
        ctx.save_for_backward(offsets)
        ctx.save_for_forward(offsets)
        ctx.geometry = kernel_size, stride, padding, dilation
        ctx.input_size = spatial_size(x)

    @staticmethod
    def backward(ctx: Any, grad_values: Tensor, _grad_indices: Tensor | None, _grad_offsets: Tensor | None) -> tuple:
        (offsets,) = ctx.saved_tensors
        grad = SwitchUnpool2d.run(in_layout_of(grad_values, offsets), offsets, *ctx.geometry, ctx.input_size, "sum")
        return grad, None, None, None, None, None  # kernel_size, stride, padding, dilation, ceil_mode

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_constants: Any) -> tuple[Tensor, None, None]:
        (offsets,) = ctx.saved_tensors
        return SwitchGather2d.run(tangent, offsets, *ctx.geometry, "sum"), None, None


def max_pool2d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """:func:`torch.nn.functional.max_pool2d`: the same arguments, values, indices and limits.

    What differs: the gradient is deterministic on every device, and backward keeps one byte a window (two or four for windows of
    more than 256 or 32,768 taps) where PyTorch keeps the input and 8 bytes a window.

    Args:
        input (Tensor[N, C, H, W] or Tensor[C, H, W]): float32, float64, bfloat16 and float16 run here; integers are pooled by
            PyTorch, where it can.
        kernel_size, stride, padding, dilation, ceil_mode: as :func:`wwae.ops.switch_pool2d`.
        return_indices (bool): also return the int64 indices ``h * W + w``. Default: False.

    Returns:
        values (Tensor[N, C, OH, OW]) or ``(values, indices)``.

    Raises:
        TypeError, RuntimeError: as PyTorch's function.

    Example:
        >>> x = torch.tensor([[[[1.0, 5.0], [3.0, 2.0]]]])
        >>> [t.item() for t in wwae.ops.max_pool2d(x, 2, return_indices=True)]
        [5.0, 1]
    """
    if not isinstance(input, Tensor) or input.dtype not in check.DTYPES:
        pytorch: Any = torch.nn.functional.max_pool2d
        return pytorch(input, kernel_size, stride, padding, dilation, ceil_mode=ceil_mode, return_indices=return_indices)
    geometry = check.pool_arguments(NAME, kernel_size, stride, padding, dilation)
    check.require_image(NAME, "input", input)
    check.require_windows(NAME, input, *geometry, check.require_bool(NAME, "ceil_mode", ceil_mode))
    if not return_indices:
        return as_given(input, SwitchPool2d.run(*batched(input), *geometry, ceil_mode)[0])[0]
    values, indices, _ = MaxPool2d.run(*batched(input), *geometry, ceil_mode)
    values, indices = as_given(input, values, indices)
    return values, indices

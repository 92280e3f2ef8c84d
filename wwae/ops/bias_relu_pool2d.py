"""Bias, ReLU and max pooling in one pass over the map.

``values[n, c, oh, ow] = max_t relu(x[n, c, tap t of window (oh, ow)] + bias[c])``, with the switches of :func:`switch_pool2d`: the
end of every convolution block of Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
2015, arXiv:1409.1556. The full-resolution map between them is never stored, neither in forward nor for backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops import bias_relu_pool2d_backward as backward_operation
from wwae.ops._batch import as_given, batched
from wwae.ops._library import Differentiable, define, only_first_differentiable
from wwae.ops._pooled import empty_pooled
from wwae.ops._relu import differentiated_again, fold_into_channels, masked_gradient, per_channel, require_parameter
from wwae.ops.switch_gather2d import SwitchGather2d
from wwae.ops.switch_unpool2d import SwitchUnpool2d, in_layout_of
from wwae.ops.switches import Switches, _make
from wwae.reference.window import Pair, accumulation_dtype, offset_dtype, spatial_size

__all__ = ["bias_relu_pool2d"]

NAME = "bias_relu_pool2d"


def _fake(
    x: Tensor, bias: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    geometry = kernel_size, stride, padding, dilation, ceil_mode
    values, offsets = empty_pooled(NAME, x, *geometry, x.dtype, offset_dtype(kernel_size))
    require_parameter(NAME, "bias", bias, x)
    return values, offsets


class BiasReLUPool2d(Differentiable):
    """For the derivatives the pooled values and the offsets are kept: they say what ReLU stopped, and where the rest stood."""

    operation = define(
        f"{NAME}(Tensor x, Tensor bias, SymInt[2] kernel_size, SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation,"
        " bool ceil_mode) -> (Tensor, Tensor)",
        _fake,
    )
    tensors = 2

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *arguments: Any) -> tuple[Any, Any]:
        return fold_into_channels(BiasReLUPool2d, info, in_dims, arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        x, bias, kernel_size, stride, padding, dilation, _ = inputs
        values, offsets = output
        only_first_differentiable(ctx, offsets)
        ctx.save_for_backward(values, offsets)
        ctx.save_for_forward(values, offsets)
        ctx.geometry = kernel_size, stride, padding, dilation
        ctx.input_size = spatial_size(x)
        ctx.bias_dtype = bias.dtype

    @staticmethod
    def composed_backward(grad: Tensor, values: Tensor, offsets: Tensor, *sizes: Pair) -> tuple[Tensor, Tensor]:
        passed = masked_gradient(grad, values)
        grad_x = SwitchUnpool2d.run(passed, offsets, *sizes, "sum")
        return grad_x, passed.sum((0, 2, 3), dtype=accumulation_dtype(grad.dtype))

    @staticmethod
    def backward(ctx: Any, grad_values: Tensor, _grad_offsets: Tensor | None) -> tuple:
        values, offsets = ctx.saved_tensors
        run = BiasReLUPool2d.composed_backward if differentiated_again() else backward_operation.run
        grad = in_layout_of(grad_values, offsets)
        grad_x, grad_bias = run(grad, values, offsets, *ctx.geometry, ctx.input_size)
        return grad_x, grad_bias.to(ctx.bias_dtype), None, None, None, None, None  # geometry, ceil_mode

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor | None, bias_tangent: Tensor | None, *_constants: Any) -> tuple[Tensor, None]:
        values, offsets = ctx.saved_tensors
        moved = torch.zeros_like(values)
        if tangent is not None:
            moved = moved + SwitchGather2d.run(tangent, offsets, *ctx.geometry, "sum")
        if bias_tangent is not None:
            moved = moved + per_channel(bias_tangent).to(values.dtype)
        return masked_gradient(moved, values), None


def bias_relu_pool2d(
    x: Tensor,
    bias: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Switches]:
    """``max_pool2d(relu(x + bias))`` in one pass over ``x``, with switches (Simonyan and Zisserman 2015, arXiv:1409.1556).

    Args:
        x (Tensor[N, C, H, W] or Tensor[C, H, W], float32 | float64 | bfloat16 | float16): contiguous, channels-last or strided;
            usually the result of a convolution without bias.
        bias (Tensor[C]): one number a channel, in the dtype of ``x``, or float32 for a 16-bit ``x``.
        kernel_size, stride, padding, dilation, ceil_mode: as :func:`switch_pool2d`.

    Returns:
        values (Tensor[N, C, OH, OW]): in the dtype and memory format of ``x``. Differentiable in ``x`` and ``bias``, any number of
            times, in reverse and in forward mode.
        switches (Switches): one byte a window up to 256 taps. Not differentiable.

    Equal to the unfused chain bit for bit, up to the sign of zero: for a 16-bit ``x`` the sum is computed in float32 and rounded
    before anything is compared. A window of which ReLU leaves nothing has value 0 and points at its first tap inside the map. A
    gradient is stopped where the pooled value is not positive; NaN passes it, as in PyTorch's ``relu``. For backward only the
    values and the offsets are kept. The gradient of ``bias`` is added in a fixed order.

    Raises:
        TypeError: if ``x`` or ``bias`` is no tensor or a size is no int.
        RuntimeError: for other dtypes, shapes and devices, and for windows that PyTorch's ``max_pool2d`` refuses.

    Example:
        >>> x = torch.tensor([[[[1.0, -5.0], [3.0, 2.0]]]])
        >>> values, switches = wwae.ops.bias_relu_pool2d(x, torch.tensor([-1.0]), 2)
        >>> values.item(), switches.offsets.item()
        (2.0, 2)
    """
    check.require_dtype(NAME, "x", x)
    geometry = check.pool_arguments(NAME, kernel_size, stride, padding, dilation)
    check.require_image(NAME, "x", x)
    require_parameter(NAME, "bias", bias, x)
    check.require_windows(NAME, x, *geometry, check.require_bool(NAME, "ceil_mode", ceil_mode))
    values, offsets = as_given(x, *BiasReLUPool2d.run(*batched(x), bias, *geometry, ceil_mode))
    return values, _make(offsets, *geometry, ceil_mode, spatial_size(x))

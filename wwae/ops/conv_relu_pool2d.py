"""Convolution, ReLU and max pooling in one, with switches.

``values[n, o, oh, ow] = max_t relu(conv2d(x, weight, bias)[n, o, tap t of window (oh, ow)])``, with the switches of
:func:`switch_pool2d`: the end of every block of Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", 2015, arXiv:1409.1556. For backward no full-resolution map after the convolution is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops import conv_relu_pool2d_backward as backward_operation
from wwae.ops._batch import as_given, batched
from wwae.ops._convolution import autocast, require_convolution
from wwae.ops._library import Differentiable, define, only_first_differentiable
from wwae.ops._relu import differentiated_again, masked_gradient, per_channel
from wwae.ops.bias_relu_pool2d import BiasReLUPool2d
from wwae.ops.switch_gather2d import SwitchGather2d
from wwae.ops.switch_unpool2d import SwitchUnpool2d, in_layout_of
from wwae.ops.switches import Switches, _make
from wwae.reference.window import Pair, memory_format, offset_dtype, pooled_sizes, spatial_size

__all__ = ["conv_relu_pool2d"]

NAME = "conv_relu_pool2d"


def _require(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: tuple[Pair, Pair, Pair, Pair],
    ceil_mode: bool,
    convolution: tuple[Pair, Pair, Pair, int],
) -> tuple[Pair, Pair]:
    """``(H, W)`` of the map that is pooled, and ``(OH, OW)``; refused where there is none."""
    size = require_convolution(NAME, x, weight, bias, spatial_size(x), *convolution)
    windows = pooled_sizes(size, *geometry, ceil_mode)
    if windows[0] < 1 or windows[1] < 1:
        raise RuntimeError(
            f"{NAME}: Output size is too small: expected a convolved map large enough for one window of kernel_size={geometry[0]},"
            f" padding={geometry[2]}, dilation={geometry[3]}, got {tuple(size)} and output size {tuple(windows)}"
        )
    return size, windows


def _fake(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
    conv_stride: Pair,
    conv_padding: Pair,
    conv_dilation: Pair,
    groups: int,
) -> tuple[Tensor, Tensor]:
    check.require_dtype(NAME, "x", x)
    check.require_image(NAME, "x", x)
    check.require_geometry(NAME, kernel_size, stride, padding, dilation)
    geometry = kernel_size, stride, padding, dilation
    _, windows = _require(x, weight, bias, geometry, ceil_mode, (conv_stride, conv_padding, conv_dilation, groups))
    shape, layout = (x.shape[0], weight.shape[0], *windows), memory_format(x)
    values = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
    return values, torch.empty(shape, dtype=offset_dtype(kernel_size), device=x.device, memory_format=layout)


class ConvReLUPool2d(Differentiable):
    """For the derivatives ``x`` and the weights are kept, and of the pooled size the values and offsets."""

    operation = define(
        f"{NAME}(Tensor x, Tensor weight, Tensor? bias, SymInt[2] kernel_size, SymInt[2] stride, SymInt[2] padding,"
        " SymInt[2] dilation, bool ceil_mode, SymInt[2] conv_stride, SymInt[2] conv_padding, SymInt[2] conv_dilation,"
        " SymInt groups) -> (Tensor values, Tensor offsets)",
        _fake,
    )
    tensors = 3

    @staticmethod
    def vmap(info: Any, in_dims: tuple, x: Tensor, weight: Tensor, bias: Tensor | None, *constants: Any) -> tuple[Any, Any]:
        if in_dims[1] is None and in_dims[2] is None:
            folded = x.movedim(in_dims[0], 0).flatten(0, 1)
            results = ConvReLUPool2d.run(folded, weight, bias, *constants)
            return tuple(result.unflatten(0, (info.batch_size, -1)) for result in results), (0, 0)
        return torch.vmap(lambda *tensors: _composed(*tensors, *constants), in_dims[:3])(x, weight, bias), (0, 0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        x, weight, _, kernel_size, stride, padding, dilation, _, *convolution = inputs
        values, offsets = output
        only_first_differentiable(ctx, offsets)
        ctx.save_for_backward(x, weight, values, offsets)
        ctx.save_for_forward(x, weight, values, offsets)
        ctx.geometry = kernel_size, stride, padding, dilation
        ctx.convolution = tuple(convolution)

    @staticmethod
    def backward(ctx: Any, grad_values: Tensor, _grad_offsets: Tensor | None) -> tuple:
        x, weight, values, offsets = ctx.saved_tensors
        grad = in_layout_of(grad_values, offsets)
        wants_x, wants_weight, wants_bias = wanted = list(ctx.needs_input_grad[:3])
        if differentiated_again():
            grad_x, grad_weight, grad_bias = _composed_backward(ctx, grad, wanted)
        else:
            grad_x, grad_weight, grad_bias = backward_operation.run(
                grad, values, offsets, x, weight, *ctx.geometry, *ctx.convolution, wanted
            )
        constants = (None,) * 9  # geometry, ceil_mode, convolution
        return grad_x if wants_x else None, grad_weight if wants_weight else None, grad_bias if wants_bias else None, *constants

    @staticmethod
    def jvp(
        ctx: Any, tangent: Tensor | None, weight_tangent: Tensor | None, bias_tangent: Tensor | None, *_constants: Any
    ) -> tuple[Tensor, None]:
        x, weight, values, offsets = ctx.saved_tensors
        moved = torch.zeros_like(values)
        for map_, weights in ((tangent, weight), (x, weight_tangent)):
            if map_ is not None and weights is not None:
                full = torch.conv2d(map_, weights, None, *ctx.convolution)
                moved = moved + SwitchGather2d.run(full, offsets, *ctx.geometry, "sum")
        if bias_tangent is not None:
            moved = moved + per_channel(bias_tangent)
        return masked_gradient(moved, values), None


def _composed(x: Tensor, weight: Tensor, bias: Tensor | None, *constants: Any) -> tuple[Tensor, Tensor]:
    """The operation made of others, which have derivatives and batching rules."""
    geometry, convolution = constants[:5], constants[5:]
    sums = torch.conv2d(x, weight, None, *convolution)
    return BiasReLUPool2d.run(sums, sums.new_zeros(weight.shape[0]) if bias is None else bias, *geometry)


def _composed_backward(ctx: Any, grad: Tensor, wanted: list[bool]) -> tuple[Tensor | None, ...]:
    """The gradients of ``x``, ``weight`` and ``bias``, made of operations that have derivatives."""
    x, weight, values, offsets = ctx.saved_tensors
    stride, padding, dilation, groups = ctx.convolution
    size = pooled_sizes(spatial_size(x), (weight.shape[2], weight.shape[3]), stride, padding, dilation, False)
    passed = masked_gradient(grad, values)
    full = SwitchUnpool2d.run(in_layout_of(passed, offsets), offsets, *ctx.geometry, size, "sum")
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
        full, x, weight, None, stride, padding, dilation, False, (0, 0), groups, [*wanted[:2], False]
    )
    return grad_x, grad_weight, passed.sum((0, 2, 3)) if wanted[2] else None


def conv_relu_pool2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    conv_stride: int | Sequence[int] = 1,
    conv_padding: int | Sequence[int] = 0,
    conv_dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> tuple[Tensor, Switches]:
    """``max_pool2d(relu(conv2d(x, weight, bias)))`` with switches (Simonyan and Zisserman 2015, arXiv:1409.1556).

    Args:
        x (Tensor[N, I, H, W] or Tensor[I, H, W], float32 | float64 | bfloat16 | float16): contiguous, channels-last or strided.
        weight (Tensor[O, I / groups, KH, KW]): of the convolution, in the dtype of ``x`` and any layout.
        bias (Tensor[O] or None): in the dtype of ``x``; None stands for 0.
        kernel_size, stride, padding, dilation, ceil_mode: of the pooling, as :func:`switch_pool2d`.
        conv_stride (int or pair): distance of neighbouring applications of ``weight``. Default: 1.
        conv_padding (int or pair): zeros added on each side of ``x``. Default: 0.
        conv_dilation (int or pair): distance of neighbouring taps of ``weight``. Default: 1.
        groups (int): number of parts the channels fall into, each convolved by itself. Default: 1.

    Returns:
        values (Tensor[N, O, OH, OW]): in the dtype and memory format of ``x``. Differentiable in ``x``, ``weight`` and ``bias``,
            any number of times, in reverse and in forward mode.
        switches (Switches): of the convolved map; one byte a window up to 256 taps. Not differentiable.

    One kernel that never writes the convolved map where there is one and it is faster, else the library's convolution and
    :func:`bias_relu_pool2d`. For a 16-bit ``x`` sums are float32, and rounded before anything is compared. Kernels add in different
    orders, so values agree to rounding, and switches wherever taps differ by more than that. For ReLU and its gradient see
    :func:`bias_relu_pool2d`. For backward ``x`` and ``weight`` are kept, and otherwise only what has the pooled size. Under
    autocast ``x``, ``weight`` and ``bias`` are cast, as for any convolution.

    Raises:
        TypeError: if a tensor is none or a size is no int.
        RuntimeError: for other dtypes, shapes and devices, for channels that don't match, and for windows that PyTorch's
            ``max_pool2d`` refuses.

    Example:
        >>> x, weight = torch.tensor([[[[1.0, 5.0], [3.0, 2.0]]]]), torch.tensor([[[[2.0]]]])
        >>> values, switches = wwae.ops.conv_relu_pool2d(x, weight, torch.tensor([-1.0]), 2)
        >>> values.item(), switches.offsets.item()
        (9.0, 1)
    """
    check.require_dtype(NAME, "x", x)
    geometry = check.pool_arguments(NAME, kernel_size, stride, padding, dilation)
    check.require_image(NAME, "x", x)
    check.require_bool(NAME, "ceil_mode", ceil_mode)
    convolution = (
        check.pair(NAME, "conv_stride", conv_stride),
        check.pair(NAME, "conv_padding", conv_padding),
        check.pair(NAME, "conv_dilation", conv_dilation),
        check.require_int(NAME, "groups", groups),
    )
    x, weight, bias = autocast(x, weight, bias)
    size, _ = _require(x, weight, bias, geometry, ceil_mode, convolution)
    values, offsets = as_given(x, *ConvReLUPool2d.run(*batched(x), weight, bias, *geometry, ceil_mode, *convolution))
    return values, _make(offsets, *geometry, ceil_mode, size)

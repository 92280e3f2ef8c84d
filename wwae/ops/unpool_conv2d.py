"""Unpooling with switches and a convolution of the map they give, in one.

``y = conv2d(unpool(x), weight, bias)``, and ReLU where wanted: the start of every block of the decoder of Zhang, Lee and Lee,
"Augmenting Supervised Neural Networks with Unsupervised Objectives for Large-scale Image Classification", 2016, arXiv:1606.06582.
For backward the unpooled map is not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops import unpool_conv2d_weight_backward as weight_operation
from wwae.ops._batch import as_given, batched
from wwae.ops._convolution import autocast, require_convolution
from wwae.ops._library import Differentiable, define
from wwae.ops._relu import differentiated_again, masked_gradient, per_channel
from wwae.ops.switch_gather2d import SwitchGather2d
from wwae.ops.switch_unpool2d import SwitchUnpool2d, in_layout_of, require_switches
from wwae.ops.switches import Switches
from wwae.reference.window import Pair, memory_format

__all__ = ["unpool_conv2d"]

NAME = "unpool_conv2d"


def _fake(
    x: Tensor,
    offsets: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    output_size: Pair,
    conv_padding: Pair,
    relu: bool,
) -> Tensor:
    check.require_dtype(NAME, "x", x)
    check.require_geometry(NAME, kernel_size, stride, padding, dilation)
    check.require_offsets(NAME, offsets, kernel_size)
    check.require_like(NAME, "offsets", offsets, x.shape, offsets.dtype, x)
    size = require_convolution(NAME, x, weight, bias, output_size, (1, 1), conv_padding, (1, 1), 1)
    return torch.empty((x.shape[0], weight.shape[0], *size), dtype=x.dtype, device=x.device, memory_format=memory_format(x))


class UnpoolConv2d(Differentiable):
    """For the derivatives ``x``, the offsets and the weights are kept, and with ReLU the output, which says what it stopped."""

    operation = define(
        f"{NAME}(Tensor x, Tensor offsets, Tensor weight, Tensor? bias, SymInt[2] kernel_size, SymInt[2] stride, SymInt[2] padding,"
        " SymInt[2] dilation, SymInt[2] output_size, SymInt[2] conv_padding, bool relu) -> Tensor",
        _fake,
    )
    tensors = 4

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *arguments: Any) -> tuple[Any, Any]:
        tensors, constants = arguments[:4], arguments[4:]
        if in_dims[2] is None and in_dims[3] is None:
            x, offsets = (
                (t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)).flatten(0, 1)
                for t, dim in zip(tensors[:2], in_dims[:2], strict=True)
            )
            return UnpoolConv2d.run(x, offsets, *arguments[2:]).unflatten(0, (info.batch_size, -1)), 0
        return torch.vmap(lambda *tensors: _composed(*tensors, *constants), in_dims[:4])(*tensors), 0

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, offsets, weight, _, *geometry, ctx.output_size, ctx.conv_padding, ctx.relu = inputs
        kept = (x, offsets, weight, output) if ctx.relu else (x, offsets, weight)
        ctx.save_for_backward(*kept)
        ctx.save_for_forward(*kept)
        ctx.geometry = tuple(geometry)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        x, offsets, weight, *output = ctx.saved_tensors
        grad = masked_gradient(grad, output[0]) if output else grad
        grad = in_layout_of(grad, offsets)
        wants_x, _, wants_weight, wants_bias = ctx.needs_input_grad[:4]
        grad_x = _input_gradient(ctx, grad, offsets, weight) if wants_x else None
        grad_weight = _weight_gradient(ctx, grad, x, offsets, weight) if wants_weight else None
        grad_bias = grad.sum((0, 2, 3)) if wants_bias else None
        constants = (None,) * 7  # geometry, output_size, conv_padding, relu
        return grad_x, None, grad_weight, grad_bias, *constants

    @staticmethod
    def jvp(
        ctx: Any,
        tangent: Tensor | None,
        _offsets: None,
        weight_tangent: Tensor | None,
        bias_tangent: Tensor | None,
        *_constants: Any,
    ) -> Tensor:
        x, offsets, weight, *output = ctx.saved_tensors
        parts = [
            _composed(map_, offsets, weights, None, *ctx.geometry, ctx.output_size, ctx.conv_padding, False)
            for map_, weights in ((tangent, weight), (x, weight_tangent))
            if map_ is not None and weights is not None
        ]
        if bias_tangent is not None:
            size = require_convolution(NAME, x, weight, None, ctx.output_size, (1, 1), ctx.conv_padding, (1, 1), 1)
            parts.append(per_channel(bias_tangent).expand(x.shape[0], -1, *size))
        moved = sum(parts[1:], parts[0])
        return masked_gradient(moved, output[0]) if output else moved


def _composed(x: Tensor, offsets: Tensor, weight: Tensor, bias: Tensor | None, *constants: Any) -> Tensor:
    """The operation made of others, which have derivatives and batching rules."""
    *geometry, output_size, conv_padding, relu = constants
    full = SwitchUnpool2d.run(x, offsets, *geometry, output_size, "last")
    sums = torch.conv2d(full, weight, bias, 1, conv_padding)
    return sums.relu() if relu else sums


def _input_gradient(ctx: Any, grad: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    full = torch.conv_transpose2d(grad, weight, None, 1, ctx.conv_padding)
    return SwitchGather2d.run(in_layout_of(full, offsets), offsets, *ctx.geometry, "last")


def _weight_gradient(ctx: Any, grad: Tensor, x: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    if not differentiated_again():
        kernel_size = weight.shape[2], weight.shape[3]
        return weight_operation.run(x, offsets, grad, *ctx.geometry, ctx.output_size, kernel_size, ctx.conv_padding)
    full = SwitchUnpool2d.run(x, offsets, *ctx.geometry, ctx.output_size, "last")
    return torch.ops.aten.convolution_backward(
        grad, full, weight, None, (1, 1), ctx.conv_padding, (1, 1), False, (0, 0), 1, [False, True, False]
    )[1]


def unpool_conv2d(
    x: Tensor,
    switches: Switches,
    weight: Tensor,
    bias: Tensor | None = None,
    conv_padding: int | Sequence[int] = 0,
    activation: str | None = None,
) -> Tensor:
    """``conv2d(unpool(x), weight, bias)``, and ReLU where wanted (Zhang et al. 2016, arXiv:1606.06582, figure 1).

    Args:
        x (Tensor[N, I, OH, OW] or Tensor[I, OH, OW], float32 | float64 | bfloat16 | float16): pooled values, or any of that shape.
        switches (Switches): of the pooling, on the device of ``x``. Where windows overlap, the last of those that point at an
            element wins, as in :func:`switch_unpool2d`.
        weight (Tensor[O, I, KH, KW]): of the convolution, in the dtype of ``x`` and any layout.
        bias (Tensor[O] or None): in the dtype of ``x``. Default: None, no bias.
        conv_padding (int or pair): zeros added on each side of the unpooled map. Default: 0.
        activation (str or None): ``"relu"``, or None for the sums as they are. Default: None.

    Returns:
        Tensor[N, O, H, W] in the dtype and memory format of ``x``. Differentiable in ``x``, ``weight`` and ``bias``, any number of
        times, in reverse and in forward mode.

    One kernel that never writes the unpooled map where there is one and it is faster, else :func:`switch_unpool2d` and the
    library's convolution. For a 16-bit ``x`` sums are float32. For backward ``x``, the switches and ``weight`` are kept, and with
    ReLU the output. Under autocast ``x``, ``weight`` and ``bias`` are cast, as for any convolution.

    Raises:
        TypeError: if a tensor is none, ``switches`` no ``Switches``, or a size no int.
        ValueError: for an unknown ``activation``.
        RuntimeError: if ``x`` and the switches or ``weight`` differ in shape, dtype or device, or for another dtype.

    Example:
        >>> values, switches = wwae.ops.switch_pool2d(torch.tensor([[[[1.0, 5.0], [3.0, 2.0]]]]), 2)
        >>> wwae.ops.unpool_conv2d(values, switches, torch.tensor([[[[2.0]]]])).tolist()
        [[[[0.0, 10.0], [0.0, 0.0]]]]
    """
    check.require_dtype(NAME, "x", x)
    require_switches(NAME, x, switches)
    if activation not in (None, "relu"):
        raise ValueError(f"{NAME}: expected activation to be None or 'relu', got {activation!r}")
    pads = check.pair(NAME, "conv_padding", conv_padding)
    x, weight, bias = autocast(x, weight, bias)
    require_convolution(NAME, x, weight, bias, switches.input_size, (1, 1), pads, (1, 1), 1)
    geometry = switches.kernel_size, switches.stride, switches.padding, switches.dilation, switches.input_size
    full = UnpoolConv2d.run(*batched(x, switches.offsets), weight, bias, *geometry, pads, activation == "relu")
    return as_given(x, full)[0]

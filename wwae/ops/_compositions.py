"""The operations with a convolution, made of the library's convolution and the one-pass operations, for any geometry.

``COMPOSITIONS[name]`` has the signature of ``wwae::name``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from wwae.ops._convolution import mirrored, mirrored_padding
from wwae.ops._relu import masked_gradient
from wwae.reference.window import Pair, memory_format, pooled_sizes, side_by_side, spatial_size

_aten, _wwae = torch.ops.aten, torch.ops.wwae

# On a CPU: of the maps between convolution and pooling that are held at once. More leave the cache, and their memory is new.
_CHUNK_BYTES = 8 * 2**20
# Of gradients that are asked for together: less than another call of the library costs.
_HELD_BYTES = 2**18


def _conv_relu_pool2d(
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
    convolution = (conv_stride, conv_padding, conv_dilation, groups)
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    layout = memory_format(x)
    zeros = x.new_zeros(weight.shape[0])
    if x.device.type != "cpu":
        sums = torch.conv2d(x, weight, None, *convolution)
        values, offsets = _wwae.bias_relu_pool2d(sums, zeros if bias is None else bias, *window)
    else:
        # A CPU's convolution adds the bias before it rounds, a GPU's in one more pass.
        parts = [
            _wwae.bias_relu_pool2d(torch.conv2d(part, weight, bias, *convolution), zeros, *window) for part in _chunks(x, weight)
        ]
        values, offsets = parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts, strict=True))
    return values.contiguous(memory_format=layout), offsets.contiguous(memory_format=layout)


def _chunks(x: Tensor, weight: Tensor) -> Sequence[Tensor]:
    """Images whose convolved maps, at the resolution of ``x``, take no more than ``_CHUNK_BYTES``."""
    images, _, height, width = x.shape
    each = max(1, _CHUNK_BYTES // (weight.shape[0] * height * width * x.element_size()))
    return (x,) if images <= each else x.split(each)


def _conv_relu_pool2d_backward(
    grad: Tensor,
    values: Tensor,
    offsets: Tensor,
    x: Tensor,
    weight: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    conv_stride: Pair,
    conv_padding: Pair,
    conv_dilation: Pair,
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    size = pooled_sizes(spatial_size(x), (weight.shape[2], weight.shape[3]), conv_stride, conv_padding, conv_dilation, False)
    full, grad_bias = _wwae.bias_relu_pool2d_backward(grad, values, offsets, kernel_size, stride, padding, dilation, size)
    convolution = (None, conv_stride, conv_padding, conv_dilation, False, (0, 0), groups)
    layout = memory_format(x)
    grad_x, grad_weight = _convolution_gradients(full, x, weight, convolution, output_mask[0], output_mask[1])
    return (
        x.new_empty(0) if grad_x is None else grad_x.contiguous(memory_format=layout),
        x.new_empty(0) if grad_weight is None else grad_weight.contiguous(memory_format=layout),
        grad_bias.to(x.dtype) if output_mask[2] else x.new_empty(0),
    )


def _convolution_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, convolution: tuple, wants_x: bool, wants_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The library makes each by itself even if asked for both: of large ones the smaller first, which is held meanwhile."""
    if wants_x and wants_weight and x.nbytes + weight.nbytes > _HELD_BYTES:
        x_first = x.numel() <= weight.numel()
        first = _convolution_gradients(grad, x, weight, convolution, x_first, not x_first)
        second = _convolution_gradients(grad, x, weight, convolution, not x_first, x_first)
        return (first[0], second[1]) if x_first else (second[0], first[1])
    if not (wants_x or wants_weight):
        return None, None
    found = _aten.convolution_backward(grad, x, weight, *convolution, [wants_x, wants_weight, False])
    return found[0] if wants_x else None, found[1] if wants_weight else None


def _unpool_conv2d(
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
    full = _wwae.switch_unpool2d(x, offsets, kernel_size, stride, padding, dilation, output_size, "last")
    sums = torch.conv2d(full, weight, bias, 1, conv_padding).contiguous(memory_format=memory_format(x))
    return sums.relu_() if relu else sums


def _unpool_conv2d_weight_backward(
    x: Tensor,
    offsets: Tensor,
    dense: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    output_size: Pair,
    conv_kernel_size: Pair,
    conv_padding: Pair,
) -> Tensor:
    full = _wwae.switch_unpool2d(x, offsets, kernel_size, stride, padding, dilation, output_size, "last")
    # Only the shape and layout of the weights are looked at.
    layout = memory_format(x)
    weight = torch.empty((dense.shape[1], x.shape[1], *conv_kernel_size), dtype=x.dtype, device=x.device, memory_format=layout)
    wanted = [False, True, False]
    arguments = ((1, 1), conv_padding, (1, 1), False, (0, 0), 1, wanted)
    return _aten.convolution_backward(dense, full, weight, None, *arguments)[1].contiguous(memory_format=layout)


def fused_conv_relu_pool2d_backward(
    grad: Tensor,
    values: Tensor,
    offsets: Tensor,
    x: Tensor,
    weight: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    conv_stride: Pair,
    conv_padding: Pair,
    conv_dilation: Pair,
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """``conv_relu_pool2d_backward`` by the kernels of ``unpool_conv2d``, which read the pooled gradient and the switches.

    Composed where they do not apply: for windows that overlap, whose gradients add up, and for what is no plain convolution.
    """
    pads = mirrored_padding(weight, conv_padding)
    plain = groups == 1 and max(*conv_stride, *conv_dilation) == 1 and min(pads) >= 0
    if not (plain and side_by_side(kernel_size, stride, dilation)):
        arguments = (kernel_size, stride, padding, dilation, conv_stride, conv_padding, conv_dilation, groups, output_mask)
        return _conv_relu_pool2d_backward(grad, values, offsets, x, weight, *arguments)
    taps = weight.shape[2], weight.shape[3]
    size = pooled_sizes(spatial_size(x), taps, conv_stride, conv_padding, conv_dilation, False)
    geometry = (kernel_size, stride, padding, dilation, size)
    passed = masked_gradient(grad, values)
    grad_x, grad_weight, grad_bias = x.new_empty(0), x.new_empty(0), x.new_empty(0)
    if output_mask[0]:
        grad_x = _wwae.unpool_conv2d(passed, offsets, mirrored(weight), None, *geometry, pads, False)
        grad_x = grad_x.contiguous(memory_format=memory_format(x))
    if output_mask[1]:
        grad_weight = mirrored(_wwae.unpool_conv2d_weight_backward(passed, offsets, x, *geometry, taps, pads))
        grad_weight = grad_weight.contiguous(memory_format=memory_format(x))
    if output_mask[2]:
        grad_bias = passed.sum((0, 2, 3))
    return grad_x, grad_weight, grad_bias


COMPOSITIONS: dict[str, Callable[..., Any]] = {
    "conv_relu_pool2d": _conv_relu_pool2d,
    "conv_relu_pool2d_backward": _conv_relu_pool2d_backward,
    "unpool_conv2d": _unpool_conv2d,
    "unpool_conv2d_weight_backward": _unpool_conv2d_weight_backward,
}

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
    zeros = x.new_zeros(weight.shape[0])
    if x.device.type != "cpu":
        sums = torch.conv2d(x, weight, None, *convolution)
        results = _wwae.bias_relu_pool2d(sums, zeros if bias is None else bias, *window)
    else:
        # A CPU's convolution adds the bias before it rounds, a GPU's in one more pass.
        parts = [
            _wwae.bias_relu_pool2d(torch.conv2d(part, weight, bias, *convolution), zeros, *window) for part in _chunks(x, weight)
        ]
        results = parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts, strict=True))
    values, offsets = (result.contiguous(memory_format=memory_format(x)) for result in results)
    return values, offsets


def _chunks(x: Tensor, weight: Tensor) -> Sequence[Tensor]:
    """Images whose convolved maps, at the resolution of ``x``, take no more than ``_CHUNK_BYTES``."""
    each = weight.shape[0] * x.shape[2] * x.shape[3] * x.element_size()
    return x.split(max(1, _CHUNK_BYTES // each))


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
    grads = [x.new_empty(0), weight.new_empty(0), grad_bias.to(x.dtype) if output_mask[2] else x.new_empty(0)]
    # The library makes each by itself even if asked for both: the smaller one first, which is held while the other is made.
    for number in sorted((0, 1), key=lambda number: (x, weight)[number].numel()):
        if output_mask[number]:
            wanted = [number == 0, number == 1, False]
            found = _aten.convolution_backward(full, x, weight, *convolution, wanted)[number]
            grads[number] = found.contiguous(memory_format=memory_format(x))
    grad_x, grad_weight, grad_bias = grads
    return grad_x, grad_weight, grad_bias


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

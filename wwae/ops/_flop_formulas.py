"""Multiplications and additions of the operations with a convolution, for ``torch.utils.flop_counter.FlopCounterMode``.

Counted as PyTorch counts those of a convolution: two for every weight at every place it is applied to, none for bias, ReLU and
pooling.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

from wwae.reference.window import Pair, pooled_sizes

Shape = Sequence[int]


def _applied(images: int, weight: Shape, size: Pair) -> int:
    """Of weights (O, I / groups, KH, KW) that give maps of a size."""
    return 2 * images * prod(size) * prod(weight)


def _convolved(x: Shape, weight: Shape, stride: Pair, padding: Pair, dilation: Pair) -> int:
    size = pooled_sizes((x[2], x[3]), (weight[2], weight[3]), stride, padding, dilation, False)
    return _applied(x[0], weight, size)


@register_flop_formula(torch.ops.wwae.conv_relu_pool2d)
def _conv_relu_pool2d(x: Shape, weight: Shape, _bias: Shape | None, *constants: Any, **_outputs: Any) -> int:
    *_, stride, padding, dilation, _groups = constants
    return _convolved(x, weight, stride, padding, dilation)


@register_flop_formula(torch.ops.wwae.conv_relu_pool2d_backward)
def _conv_relu_pool2d_backward(
    _grad: Shape, _values: Shape, _offsets: Shape, x: Shape, weight: Shape, *constants: Any, **_outputs: Any
) -> int:
    *_, stride, padding, dilation, _groups, wanted = constants
    return _convolved(x, weight, stride, padding, dilation) * sum(wanted[:2])


@register_flop_formula(torch.ops.wwae.unpool_conv2d)
def _unpool_conv2d(x: Shape, _offsets: Shape, weight: Shape, _bias: Shape | None, *constants: Any, **_outputs: Any) -> int:
    *_, output_size, padding, _relu = constants
    return _applied(x[0], weight, pooled_sizes(output_size, (weight[2], weight[3]), (1, 1), padding, (1, 1), False))


@register_flop_formula(torch.ops.wwae.unpool_conv2d_weight_backward)
def _unpool_conv2d_weight_backward(x: Shape, _offsets: Shape, dense: Shape, *constants: Any, **_outputs: Any) -> int:
    *_, kernel_size, _padding = constants
    return _applied(x[0], (dense[1], x[1], *kernel_size), (dense[2], dense[3]))

"""The gradients of ``conv_relu_pool2d``: of its input, its weights and its bias, from that of the pooled values.

The gradient of the full-resolution map holds at most one number for each window. Composed, it is written once, read by the two
gradients of the library's convolution, and forgotten; fused, both read the pooled gradient and the switches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops._convolution import require_convolution
from wwae.ops._library import LIBRARY, define, without_derivative
from wwae.ops._relu import no_second_derivative
from wwae.reference.window import Pair, memory_format, spatial_size

__all__: list[str] = []

NAME = "conv_relu_pool2d_backward"


def _fake(
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
    check.require_dtype(NAME, "grad", grad)
    check.require_geometry(NAME, kernel_size, stride, padding, dilation)
    check.require_offsets(NAME, offsets, kernel_size)
    require_convolution(NAME, x, weight, None, spatial_size(x), conv_stride, conv_padding, conv_dilation, groups)
    maps = (torch.empty(t.shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x)) for t in (x, weight))
    grads = *maps, weight.new_empty(weight.shape[0])
    grad_x, grad_weight, grad_bias = (g if wanted else g.new_empty(0) for g, wanted in zip(grads, output_mask, strict=True))
    return grad_x, grad_weight, grad_bias


OPERATION = define(
    f"{NAME}(Tensor grad, Tensor values, Tensor offsets, Tensor x, Tensor weight, SymInt[2] kernel_size, SymInt[2] stride,"
    " SymInt[2] padding, SymInt[2] dilation, SymInt[2] conv_stride, SymInt[2] conv_padding, SymInt[2] conv_dilation, SymInt groups,"
    " bool[3] output_mask) -> (Tensor, Tensor, Tensor)",
    _fake,
)
no_second_derivative(OPERATION, LIBRARY)
run = without_derivative(OPERATION)

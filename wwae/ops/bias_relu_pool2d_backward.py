"""The gradients of ``bias_relu_pool2d``: ``grad_x[switch] += grad`` where the pooled value is positive, and their sum per channel.

One pass reads the gradient, the values (which say where ReLU let its input through) and the offsets, and writes ``grad_x``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops._library import LIBRARY, define, without_derivative
from wwae.ops._relu import no_second_derivative
from wwae.reference.window import Pair, accumulation_dtype, memory_format

__all__: list[str] = []

NAME = "bias_relu_pool2d_backward"


def _fake(
    grad: Tensor,
    values: Tensor,
    offsets: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    input_size: Pair,
) -> tuple[Tensor, Tensor]:
    check.require_dtype(NAME, "grad", grad)
    check.require_geometry(NAME, kernel_size, stride, padding, dilation)
    check.require_offsets(NAME, offsets, kernel_size)
    full = torch.empty((*grad.shape[:2], *input_size), dtype=grad.dtype, device=grad.device, memory_format=memory_format(grad))
    return full, torch.empty(grad.shape[1], dtype=accumulation_dtype(grad.dtype), device=grad.device)


OPERATION = define(
    f"{NAME}(Tensor grad, Tensor values, Tensor offsets, SymInt[2] kernel_size, SymInt[2] stride, SymInt[2] padding,"
    " SymInt[2] dilation, SymInt[2] input_size) -> (Tensor, Tensor)",
    _fake,
)
no_second_derivative(OPERATION, LIBRARY)
run = without_derivative(OPERATION)

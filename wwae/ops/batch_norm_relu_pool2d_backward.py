"""The gradients of ``batch_norm_relu_pool2d``.

Two reductions run over the pooled size: ``sum(g)`` and ``sum(g h)``, where ``g`` is the gradient that ReLU lets through and ``h``
the normalised ``x`` at the switches. Then one pass reads ``x`` and the pooled tensors and writes the gradient of ``x``:
``weight / deviation * (unpool(g) - (sum(g) + h sum(g h)) / (N H W))``, the second part in training only (Ioffe and Szegedy 2015,
arXiv:1502.03167, section 3).
"""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops._library import LIBRARY, define, without_derivative
from wwae.ops._relu import no_second_derivative
from wwae.reference.window import Pair, accumulation_dtype, memory_format

__all__: list[str] = []

NAME = "batch_norm_relu_pool2d_backward"


def _fake(
    grad: Tensor,
    values: Tensor,
    offsets: Tensor,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor,
    training: bool,
    eps: float,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> tuple[Tensor, Tensor, Tensor]:
    check.require_dtype(NAME, "grad", grad)
    check.require_geometry(NAME, kernel_size, stride, padding, dilation)
    check.require_offsets(NAME, offsets, kernel_size)
    grad_x = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=memory_format(grad))
    wide = accumulation_dtype(x.dtype)
    grad_weight, grad_bias = (torch.empty(x.shape[1], dtype=wide, device=x.device) for _ in range(2))
    return grad_x, grad_weight, grad_bias


OPERATION = define(
    f"{NAME}(Tensor grad, Tensor values, Tensor offsets, Tensor x, Tensor mean, Tensor variance, Tensor weight, bool training,"
    " float eps, SymInt[2] kernel_size, SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation) -> (Tensor, Tensor, Tensor)",
    _fake,
)
no_second_derivative(OPERATION, LIBRARY)
run = without_derivative(OPERATION)

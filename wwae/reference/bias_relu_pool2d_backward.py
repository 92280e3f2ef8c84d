"""The gradients of bias, ReLU and max pooling in one."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.reference.relu import masked_gradient
from wwae.reference.switch_unpool2d import switch_unpool2d_reference
from wwae.reference.window import Pair, accumulation_dtype


def bias_relu_pool2d_backward_reference(
    grad: Tensor,
    values: Tensor,
    offsets: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    input_size: Pair,
) -> tuple[Tensor, Tensor]:
    """The gradient ``(N, C, H, W)`` of the map that was pooled and ``(C,)`` of the bias, from that of the pooled values.

    A window whose value is 0 or less stops its gradient; the others send theirs to their switch, where it adds up. The bias gets
    the sum of all that passed, float32 for bfloat16 and float16.
    """
    passed = masked_gradient(grad, values)
    full = switch_unpool2d_reference(passed, offsets, kernel_size, stride, padding, dilation, input_size, "sum")
    return full, passed.to(torch.float64).sum((0, 2, 3)).to(accumulation_dtype(grad.dtype))

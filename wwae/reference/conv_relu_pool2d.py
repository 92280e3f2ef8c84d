"""Convolution, ReLU and max pooling in one."""

from __future__ import annotations

from torch import Tensor

from wwae.reference.convolution import convolution
from wwae.reference.relu import relu
from wwae.reference.switch_pool2d import switch_pool2d_reference
from wwae.reference.window import Pair, memory_format


def conv_relu_pool2d_reference(
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
    """``max_pool2d(relu(conv2d(x, weight, bias)))``: values ``(N, O, OH, OW)`` and offsets likewise, in the layout of ``x``.

    Sums and bias are float32 for bfloat16 and float16, and rounded to the dtype of ``x`` before anything is compared.
    """
    sums = convolution(x, weight, bias, conv_stride, conv_padding, conv_dilation, groups).to(x.dtype)
    full = relu(sums).contiguous(memory_format=memory_format(x))
    return switch_pool2d_reference(full, kernel_size, stride, padding, dilation, ceil_mode)

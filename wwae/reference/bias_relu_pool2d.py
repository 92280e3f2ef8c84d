"""Bias, ReLU and max pooling in one."""

from __future__ import annotations

from torch import Tensor

from wwae.reference.relu import per_channel, relu
from wwae.reference.switch_pool2d import switch_pool2d_reference
from wwae.reference.window import Pair, accumulation_dtype


def bias_relu_pool2d_reference(
    x: Tensor, bias: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    """``max_pool2d(relu(x + bias))``: values ``(N, C, OH, OW)`` and offsets of the same shape; ``bias`` is ``(C,)``.

    The sum is float32 for bfloat16 and float16, and rounded to the dtype of ``x`` before anything is compared.
    """
    wide = accumulation_dtype(x.dtype)
    biased = (x.to(wide) + per_channel(bias, wide)).to(x.dtype)
    return switch_pool2d_reference(relu(biased), kernel_size, stride, padding, dilation, ceil_mode)

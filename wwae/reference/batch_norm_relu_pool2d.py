"""Batch normalisation, ReLU and max pooling in one."""

from __future__ import annotations

from torch import Tensor

from wwae.reference.relu import channel_statistics, per_channel, relu, square_root
from wwae.reference.switch_pool2d import switch_pool2d_reference
from wwae.reference.window import Pair, accumulation_dtype


def batch_norm_relu_pool2d_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    eps: float,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``max_pool2d(relu((x - mean) / sqrt(variance + eps) * weight + bias))``: values, offsets, and the mean and variance used.

    Without ``mean`` and ``variance`` those of ``x`` are taken. All but ``x`` are ``(C,)``. What comes before the ReLU is float32
    for bfloat16 and float16, and rounded to the dtype of ``x`` before anything is compared.
    """
    wide = accumulation_dtype(x.dtype)
    if mean is None or variance is None:
        mean, variance = channel_statistics(x)
    mean, variance = mean.to(wide, copy=True), variance.to(wide, copy=True)
    scale = weight.to(wide) / square_root(variance + eps)
    centred = x.to(wide) - per_channel(mean, wide)
    normal = (centred * per_channel(scale, wide) + per_channel(bias, wide)).to(x.dtype)
    return *switch_pool2d_reference(relu(normal), kernel_size, stride, padding, dilation, ceil_mode), mean, variance

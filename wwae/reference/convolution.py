"""The convolution inside the fused operations."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.reference.relu import per_channel
from wwae.reference.window import Pair, accumulation_dtype


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Tensor:
    """The map ``(N, O, H, W)`` of ``x`` ``(N, I, ...)`` and ``weight`` ``(O, I / groups, KH, KW)``, bias added.

    Sums of bfloat16 and float16 are float32, and stay so: the caller rounds them.
    """
    wide = accumulation_dtype(x.dtype)
    sums = torch.nn.functional.conv2d(x.to(wide), weight.to(wide), None, stride, padding, dilation, groups)
    return sums if bias is None else sums + per_channel(bias, wide)

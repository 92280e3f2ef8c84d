"""The convolution of the benchmarks: 3 x 3 with padding 1, from as many channels as the map has to as many, as before VGG's pools.

Its numbers are -1, 0 and 1, whose sums are exact: switches are the same whoever adds, so that results can be compared.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.cases import Setting

TAPS = 9


def integers(x: Tensor) -> Tensor:
    """-1, 0 and 1 in place of normal numbers."""
    return x.round().clamp(-1, 1)


def weights(x: Tensor) -> Tensor:
    """``(C, C, 3, 3)`` for a map ``(N, C, H, W)``, in its layout, to be differentiated."""
    channels = x.shape[1]
    generator = torch.Generator(x.device).manual_seed(2)
    weight = torch.randn(channels, channels, 3, 3, generator=generator, device=x.device).to(x.dtype)
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    layout = torch.channels_last if last else torch.contiguous_format
    return integers(weight).contiguous(memory_format=layout).requires_grad_()


def convolution_flops(setting: Setting) -> int:
    """``2 E C 9`` for each pass: forward, and backward for the map and for the weights."""
    once = 2 * setting.case.elements * setting.case.channels * TAPS
    return {"forward": 1, "backward": 2, "step": 3}[setting.direction] * once


def weight_bytes(setting: Setting) -> int:
    """``9 C C e``."""
    return TAPS * setting.case.channels**2 * setting.element_bytes

"""What the fused operations do before they compare the taps of a window."""

from __future__ import annotations

import numpy
import torch
from torch import Tensor

from wwae.reference.window import accumulation_dtype


def per_channel(parameter: Tensor, dtype: torch.dtype) -> Tensor:
    """A parameter ``(C,)`` in ``dtype``, shaped to meet maps ``(N, C, H, W)``."""
    return parameter.to(dtype).view(-1, 1, 1)


def relu(x: Tensor) -> Tensor:
    """``x`` where it is positive or NaN, else +0."""
    return torch.where(x <= 0, 0, x)


def masked_gradient(grad: Tensor, values: Tensor) -> Tensor:
    """``grad`` where the pooled ReLU let its input through: where ``values`` is positive or NaN; else 0."""
    return torch.where(values <= 0, 0, grad)


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (divided by the count, not one less) of each channel of ``x`` ``(N, C, H, W)``: two ``(C,)``."""
    wide = x.to(torch.float64)
    mean = wide.mean((0, 2, 3))
    variance = (wide - per_channel(mean, torch.float64)).square().mean((0, 2, 3))
    return mean.to(accumulation_dtype(x.dtype)), variance.to(accumulation_dtype(x.dtype))


def square_root(x: Tensor) -> Tensor:
    """The root of each number, rounded correctly; PyTorch's own is one unit off now and then on a CPU."""
    return torch.from_numpy(numpy.sqrt(x.cpu().numpy())).to(x.device)

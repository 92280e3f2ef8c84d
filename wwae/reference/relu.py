"""What the fused operations do before they compare the taps of a window."""

from __future__ import annotations

import torch
from torch import Tensor


def per_channel(parameter: Tensor, dtype: torch.dtype) -> Tensor:
    """A parameter ``(C,)`` in ``dtype``, shaped to meet maps ``(N, C, H, W)``."""
    return parameter.to(dtype).view(-1, 1, 1)


def relu(x: Tensor) -> Tensor:
    """``x`` where it is positive or NaN, else +0."""
    return torch.where(x <= 0, 0, x)


def masked_gradient(grad: Tensor, values: Tensor) -> Tensor:
    """``grad`` where the pooled ReLU let its input through: where ``values`` is positive or NaN; else 0."""
    return torch.where(values <= 0, 0, grad)

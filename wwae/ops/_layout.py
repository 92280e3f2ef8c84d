"""Tangents in the memory layout of what they belong to, which forward mode asks for."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.reference.taps import pairs_in_layout
from wwae.reference.window import memory_format


def in_layout_of(x: Tensor, *tangents: Tensor) -> tuple[Tensor, ...]:
    """Maps ``(N, C, H, W)`` and pairs ``(N, C, H, W, 2)`` in the memory format of ``x``; lesser tensors as they are.

    Inside ``torch.func`` transforms tensors can't be asked for their layout, and keep the one they have.
    """
    if any(torch._C._functorch.is_functorch_wrapped_tensor(tensor) for tensor in (x, *tangents)):
        return tangents
    layout = memory_format(x)
    return tuple(
        t.contiguous(memory_format=layout) if t.dim() == 4 else pairs_in_layout(t, layout) if t.dim() == 5 else t for t in tangents
    )

"""Unpooling without switches: every value goes to the same tap of its window."""

from __future__ import annotations

from torch import Tensor

from wwae.reference.window import Pair, memory_format


def fixed_unpool2d_reference(x: Tensor, stride: Pair, position: Pair, output_size: Pair) -> Tensor:
    """Map of ``output_size`` with ``x[..., oh, ow]`` at ``(oh, ow) * stride + position`` and 0 elsewhere.

    What falls outside is left out.
    """
    full = x.new_zeros((*x.shape[:2], *output_size))
    taps = full[..., position[0] :: stride[0], position[1] :: stride[1]][..., : x.shape[-2], : x.shape[-1]]
    taps.copy_(x[..., : taps.shape[-2], : taps.shape[-1]])
    return full.contiguous(memory_format=memory_format(x))

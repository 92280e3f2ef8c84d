"""The transpose of unpooling by int64 indices."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.reference.max_unpool2d import last_claims, require_indices_inside
from wwae.reference.window import memory_format, spatial_size


def max_gather2d_reference(x: Tensor, indices: Tensor) -> Tensor:
    """``x`` ``(N, C, H, W)`` read at ``indices`` ``(N, C, OH, OW)``, 0 for a window that a later one overwrites."""
    require_indices_inside("max_gather2d", indices, spatial_size(x))
    if not indices.numel():
        return x.new_zeros(indices.shape)
    values = x.flatten(-2).gather(-1, indices.flatten(-2)).view(indices.shape)
    last = last_claims(indices, x.shape[-2] * x.shape[-1])
    return torch.where(last, values, 0).contiguous(memory_format=memory_format(x))

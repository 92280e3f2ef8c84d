"""Pairs (N, C, OH, OW, 2), a position (x, y) for every window, each side by side in memory."""

from __future__ import annotations

import torch
from torch import Tensor


def empty_pairs(size: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device, channels_last: bool) -> Tensor:
    """Pairs for a map of `size` (N, C, OH, OW), in memory as the elements of such a map."""
    batch, channels, height, width = size
    if channels_last:
        return torch.empty((batch, height, width, channels, 2), dtype=dtype, device=device).permute(0, 3, 1, 2, 4)
    return torch.empty((*size, 2), dtype=dtype, device=device)


def pairs_in_memory(pairs: Tensor, channels_last: bool) -> Tensor:
    """`pairs` with their memory as above, as a tensor whose dimensions are in the order of its memory."""
    return (pairs.permute(0, 2, 3, 1, 4) if channels_last else pairs).contiguous()

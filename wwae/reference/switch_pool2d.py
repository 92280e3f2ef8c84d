"""Max pooling that records where each maximum stood."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.reference.window import Pair, memory_format, offset_dtype, padded_map, pooled_sizes, spatial_size, tap_views


def switch_pool2d_reference(
    x: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    """Values ``(N, C, OH, OW)`` and offsets of the same shape.

    The first tap in raster order wins a tie; a NaN beats every number and the last NaN wins; a window of all ``-inf`` picks its
    first real tap; a window without a real tap has value ``-inf`` and offset 0.
    """
    windows = pooled_sizes(spatial_size(x), kernel_size, stride, padding, dilation, ceil_mode)
    values = torch.full((*x.shape[:2], *windows), -torch.inf, dtype=x.dtype, device=x.device)
    offsets = torch.zeros_like(values, dtype=torch.int64)
    undecided = torch.ones_like(values, dtype=torch.bool)
    geometry = (windows, kernel_size, stride)
    inside = padded_map(torch.ones_like(x, dtype=torch.int64), *geometry, padding, dilation, 0)
    candidates = padded_map(x, *geometry, padding, dilation, -torch.inf)
    for (offset, candidate), (_, real) in zip(
        tap_views(candidates, *geometry, dilation), tap_views(inside, *geometry, dilation), strict=True
    ):
        wins = real.bool() & (undecided | (candidate > values) | candidate.isnan())
        values = torch.where(wins, candidate, values)
        offsets = torch.where(wins, offset, offsets)
        undecided = undecided & ~real.bool()
    layout = memory_format(x)
    return values.contiguous(memory_format=layout), offsets.to(offset_dtype(kernel_size)).contiguous(memory_format=layout)

"""Unpooling: values go back to where their switches point."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.reference.window import Pair, accumulation_dtype, memory_format, padded_map, side_by_side, spatial_size, tap_views


def switch_unpool2d_reference(
    x: Tensor,
    offsets: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    output_size: Pair,
    overlap: str,
) -> Tensor:
    """Map ``(N, C, H, W)`` that holds each value of ``x`` at its switch and 0 elsewhere.

    Where several windows point at one element, ``overlap`` decides: ``"last"`` keeps the last in raster order, ``"sum"`` adds
    them in raster order, ``"mean"`` divides that sum by their number. Sums of bfloat16 and float16 are float32, rounded once.
    Windows side by side keep their values to the bit, -0 among them.
    """
    if side_by_side(kernel_size, stride, dilation):
        overlap = "last"
    windows = spatial_size(x)
    height, width = output_size
    blank = x.new_zeros((*x.shape[:2], height, width), dtype=accumulation_dtype(x.dtype))
    total = padded_map(blank, windows, kernel_size, stride, padding, dilation, 0)
    claims = torch.zeros_like(total)
    # Taps backwards are windows forwards: of two windows on one element, the later one reaches it with the earlier tap.
    totals = reversed(list(tap_views(total, windows, kernel_size, stride, dilation)))
    counts = reversed(list(tap_views(claims, windows, kernel_size, stride, dilation)))
    for (offset, tap), (_, count) in zip(totals, counts, strict=True):
        claimed = offsets == offset
        placed = x.to(tap.dtype) if overlap == "last" else tap + x.to(tap.dtype)
        tap.copy_(torch.where(claimed, placed, tap))
        count.add_(claimed)
    if overlap == "mean":
        total = total / claims.clamp(min=1)
    inside = total[..., padding[0] : padding[0] + height, padding[1] : padding[1] + width]
    return inside.to(x.dtype).contiguous(memory_format=memory_format(x))

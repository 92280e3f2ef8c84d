"""The transpose of unpooling: every window reads the map at its switch."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.reference.switch_unpool2d import switch_unpool2d_reference
from wwae.reference.window import Pair, accumulation_dtype, memory_format, spatial_size, switch_positions


def switch_gather2d_reference(
    x: Tensor, offsets: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, overlap: str
) -> Tensor:
    """Values ``(N, C, OH, OW)`` of the map ``x`` ``(N, C, H, W)`` at the switches, so that ``<unpool(v), x> = <v, gather(x)>``.

    ``"sum"`` reads every switch; ``"last"`` gives 0 to a window that another one overwrites; ``"mean"`` divides by the number of
    windows that point at the element. A switch that names no real tap reads 0.
    """
    geometry = (kernel_size, stride, padding, dilation)
    size = spatial_size(x)
    row, column, real = switch_positions(offsets, *geometry, size)
    index = torch.where(real, row * size[1] + column, 0).flatten(-2)

    def read(full: Tensor) -> Tensor:
        return torch.where(real, full.flatten(-2).gather(-1, index).view(offsets.shape), 0)

    values = read(x) if x.numel() else x.new_zeros(offsets.shape)
    if overlap == "last":
        order = torch.arange(1, offsets.shape[-2] * offsets.shape[-1] + 1, device=x.device, dtype=torch.float64)
        order = order.view(offsets.shape[-2:]).expand(offsets.shape)
        owner = switch_unpool2d_reference(order, offsets, *geometry, size, "last")
        values = torch.where(read(owner) == order, values, 0)
    elif overlap == "mean":
        claims = switch_unpool2d_reference(torch.ones_like(offsets, dtype=torch.float64), offsets, *geometry, size, "sum")
        wide = accumulation_dtype(x.dtype)
        values = (values.to(wide) / read(claims).clamp(min=1).to(wide)).to(x.dtype)
    return values.contiguous(memory_format=memory_format(x))

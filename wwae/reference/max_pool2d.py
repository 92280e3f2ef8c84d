"""Max pooling with PyTorch's int64 indices."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.reference.switch_pool2d import switch_pool2d_reference
from wwae.reference.window import Pair, spatial_size, switch_positions


def max_pool2d_reference(
    x: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Values, int64 indices ``h * W + w`` into the plane, and offsets, each ``(N, C, OH, OW)``.

    A window without a real tap has the index that PyTorch gives it: the window's first tap that is not above or left of the map.
    """
    values, offsets = switch_pool2d_reference(x, kernel_size, stride, padding, dilation, ceil_mode)
    row, column, real = switch_positions(offsets, kernel_size, stride, padding, dilation, spatial_size(x))

    def first_tap(windows: int, axis: int) -> Tensor:
        start = torch.arange(windows, device=x.device) * stride[axis] - padding[axis]
        return torch.where(start < 0, start % dilation[axis], start)

    outside = first_tap(values.shape[-2], 0).unsqueeze(-1) * x.shape[-1] + first_tap(values.shape[-1], 1)
    indices = torch.where(real, row * x.shape[-1] + column, outside)
    return values, indices, offsets

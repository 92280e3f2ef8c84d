"""Max pooling that records where each maximum stood (DESIGN: switch pooling).

For window (oh, ow) with taps (r, c), r < KH, c < KW:

    values[n, c, oh, ow]  = max over real taps of x[n, c, oh * SH - PH + r * DH, ow * SW - PW + c * DW]
    offsets[n, c, oh, ow] = r * KW + c of that tap

The first maximum in raster order wins; the last NaN beats every number; padding is never chosen; a window without a
real tap has value -inf and offset 0. Deterministic: every output is written once, by one program.

x [N, C, H, W], values and offsets [N, C, OH, OW], all in the layout of x; a program computes one tile of windows
(see tile.py). Bytes per element of x with a disjoint 2 x 2 window and 16-bit floats: 2 + 0.5 + 0.25.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .tile import WARPS, element_address, tile_elements
from .window import Pooled, window_maximum


@triton.jit
def switch_pool2d_fwd_kernel(
    x,  # [N, C, H, W]
    values,  # [N, C, OH, OW]
    offsets,  # [N, C, OH, OW], uint8, int16 or int32
    rows,  # of the pooled map
    channels,
    height,
    width,
    out_height,
    out_width,
    window: tl.constexpr,
    tiling: tl.constexpr,
):
    # (image, oh, ow, channel) is an element of the pooled map
    image, oh, ow, channel, inside = tile_elements(rows, out_height, out_width, channels, tiling)
    best, offset = window_maximum(
        x, image, channel, oh, ow, rows, height, width, out_height, out_width, channels, inside, window, tiling
    )
    address = element_address(image, oh, ow, channel, out_height, out_width, channels)
    tl.store(values + address, best.to(values.dtype.element_ty), mask=inside)
    tl.store(offsets + address, tl.maximum(offset, 0).to(offsets.dtype.element_ty), mask=inside)


def switch_pool2d_triton(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:
    """Values and offsets of switch pooling; `wwae::switch_pool2d` on the Triton backend."""
    pooled = Pooled.of(x, kernel_size, stride, padding, dilation, ceil_mode)
    values = pooled.empty(x.dtype)
    offsets = pooled.empty_offsets()
    if values.numel() == 0:
        return values, offsets
    grid, rows, inner, tiling = pooled.tiles()
    with torch.cuda.device_of(x):
        switch_pool2d_fwd_kernel[grid](
            pooled.x, values, offsets, rows, inner, *x.shape[2:], *pooled.size[2:], pooled.window, tiling, num_warps=WARPS
        )
    return values, offsets

"""Max pooling with PyTorch's int64 indices; one pass writes values, indices and offsets.

Values and offsets are those of switch_pool2d (see there for ties, NaN and padding); the index of a window is the flat
position h * W + w of its maximum in the plane, in every layout. A window without a real tap has the index PyTorch's
CPU kernel gives it: h0 * W + w0, where the window's start h0 is increased by the dilation while it is negative.

x [N, C, H, W], outputs [N, C, OH, OW], all in the layout of x; a program computes one tile of windows. Bytes per
element of x with a disjoint 2 x 2 window and 16-bit floats: 2 + 0.5 + 2 + 0.25. Deterministic.
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
def first_tap(start, dilation: tl.constexpr):
    """The first tap of an axis that is not in front of the map."""
    return tl.where(start < 0, start + (-start + dilation - 1) // dilation * dilation, start)


@triton.jit
def max_pool2d_fwd_kernel(
    x,  # [N, C, H, W]
    values,  # [N, C, OH, OW]
    indices,  # [N, C, OH, OW], int64
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
    windowless = offset < 0
    offset = tl.maximum(offset, 0)
    h0 = oh * window.stride_height - window.padding_height
    w0 = ow * window.stride_width - window.padding_width
    h = tl.where(
        windowless,
        first_tap(h0, window.dilation_height),
        h0 + offset // window.kernel_width * window.dilation_height,
    )
    w = tl.where(windowless, first_tap(w0, window.dilation_width), w0 + offset % window.kernel_width * window.dilation_width)
    address = element_address(image, oh, ow, channel, out_height, out_width, channels)
    tl.store(values + address, best.to(values.dtype.element_ty), mask=inside)
    tl.store(indices + address, h.to(tl.int64) * width + w, mask=inside)
    tl.store(offsets + address, offset.to(offsets.dtype.element_ty), mask=inside)


def max_pool2d_triton(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Values, indices and offsets; `wwae::max_pool2d` on the Triton backend."""
    pooled = Pooled.of(x, kernel_size, stride, padding, dilation, ceil_mode)
    values = pooled.empty(x.dtype)
    indices = pooled.empty(torch.int64)
    offsets = pooled.empty_offsets()
    if values.numel() == 0:
        return values, indices, offsets
    grid, rows, inner, tiling = pooled.tiles()
    with torch.cuda.device_of(x):
        max_pool2d_fwd_kernel[grid](
            pooled.x, values, indices, offsets, rows, inner, *x.shape[2:], *pooled.size[2:], pooled.window, tiling,
            num_warps=WARPS,
        )  # fmt: skip
    return values, indices, offsets

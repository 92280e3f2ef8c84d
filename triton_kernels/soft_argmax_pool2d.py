"""Soft-argmax pooling: the mean of a window's values under a softmax of themselves, and the mean of their positions.

    w = exp(beta z) / sum of exp(beta z),  what = sum of w z,  where = sum of w (x, y)

over the real taps z of a window, (x, y) running from -1 to 1 (Zhao et al. 2015, arXiv:1506.02351, equations 3 and 4).
The maximum is subtracted first. A tap infinitely far below it has no weight, a NaN makes its window NaN, and so does a
beta that is negative or not finite. 16-bit floats are computed in float32.

x [N, C, H, W], what [N, C, OH, OW] in its layout, where [N, C, OH, OW, 2] likewise, beta [N, C] and where in the type of
the sums. A program computes one tile of windows; every output is written once: deterministic. Bytes per element of x of
a 2 x 2 window and 16-bit floats: 2 + 0.5 + 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from wwae.reference.window import accumulation_dtype, pooled_sizes

from .pairs import empty_pairs
from .soft_window import SOFT_TILE, plane_beta, soft_window, store_pair, sums_like
from .tile import WARPS, Window, element_address, is_channels_last, memory_format, tile_elements, tile_map


@triton.jit
def soft_argmax_pool2d_kernel(
    x,  # [N, C, H, W]
    beta,  # [N, C]
    what,  # [N, C, OH, OW]
    where,  # [N, C, OH, OW, 2]
    rows,  # of the map of windows
    channels,
    height,
    width,
    out_height,
    out_width,
    window: tl.constexpr,
    tiling: tl.constexpr,
):
    # (image, oh, ow, channel) is a window
    image, oh, ow, channel, inside = tile_elements(rows, out_height, out_width, channels, tiling)
    like = sums_like(x, inside)
    sharpness = plane_beta(beta, image, channel, channels, inside)
    maximum, _, mean, column, row = soft_window(x, sharpness, like, image, channel, oh, ow, height, width, channels, inside, window)
    address = element_address(image, oh, ow, channel, out_height, out_width, channels)
    tl.store(what + address, (maximum + mean).to(what.dtype.element_ty), mask=inside)
    store_pair(where, address, column, row, inside)


def soft_argmax_pool2d_triton(
    x: Tensor, beta: Tensor, kernel_size: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """What and where; `wwae::soft_argmax_pool2d` on the Triton backend."""
    channels_last = is_channels_last(x)
    layout = memory_format(channels_last)
    x = x.contiguous(memory_format=layout)
    beta = beta.contiguous()
    batch, channels, height, width = x.shape
    window = Window.of(kernel_size, stride, padding, (1, 1))
    size = (batch, channels, *pooled_sizes((height, width), kernel_size, stride, padding, (1, 1), False))
    what = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=layout)
    where = empty_pairs(size, accumulation_dtype(x.dtype), x.device, channels_last)
    if what.numel() == 0:
        return what, where
    grid, rows, inner, tiling = tile_map(*size, channels_last, elements=SOFT_TILE)
    with torch.cuda.device_of(x):
        soft_argmax_pool2d_kernel[grid](
            x, beta, what, where, rows, inner, height, width, *size[2:], window, tiling, num_warps=WARPS
        )
    return what, where

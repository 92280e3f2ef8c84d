"""Gather: read, for every window, the pixel its switch names; the transpose of switch_unpool2d.

    overlap = "sum":  the pixel's value
    overlap = "last": the pixel's value for the last window, in raster order, that claims the pixel, 0 for the others
    overlap = "mean": the pixel's value divided by the number of windows that claim it, in float32 for 16-bit floats

A window whose offset names no real tap gathers 0 and reads nothing. With disjoint windows the three are one.
Deterministic: every output is written once, by one program.

x [N, C, H, W], offsets and output [N, C, OH, OW], all in the layout of x; a program computes one tile of windows.
Bytes per element of x of a disjoint 2 x 2 window and 16-bit floats: 2 (every 32-byte sector of x holds some
window's pixel) + 0.25 + 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .tile import WARPS, Window, element_address, is_channels_last, memory_format, tile_elements, tile_map
from .window import claiming_window, divide, switch_pixel


@triton.jit
def count_claim(offsets, hits, later, own, image, h, w, channel, i, j, out_height, out_width, channels, real,
                window: tl.constexpr):  # fmt: skip
    """Count candidate window (i, j) of pixel (h, w) if it claims the pixel, and note if it comes after window own."""
    address, claim = claiming_window(offsets, image, h, w, channel, i, j, out_height, out_width, channels, real, window)
    return hits + claim.to(tl.int32), later | (claim & (address > own))


@triton.jit
def switch_gather2d_kernel(
    x,  # [N, C, H, W]
    offsets,  # [N, C, OH, OW], uint8, int16 or int32
    output,  # [N, C, OH, OW]
    rows,  # of the output
    channels,
    height,
    width,
    out_height,
    out_width,
    window: tl.constexpr,
    overlap: tl.constexpr,
    tiling: tl.constexpr,
):
    # (image, oh, ow, channel) is a window
    CLAIMANTS: tl.constexpr = window.claimants
    CLAIMANTS_WIDTH: tl.constexpr = window.claimants_width
    image, oh, ow, channel, inside = tile_elements(rows, out_height, out_width, channels, tiling)
    own = element_address(image, oh, ow, channel, out_height, out_width, channels)
    offset = tl.load(offsets + own, mask=inside, other=0).to(tl.int32)
    h, w, real = switch_pixel(offset, oh, ow, height, width, inside, window)
    value = tl.load(x + element_address(image, h, w, channel, height, width, channels), mask=real, other=0.0)

    if overlap != "sum" and not window.disjoint:
        hits = tl.zeros(inside.shape, tl.int32)
        later = tl.zeros(inside.shape, tl.int1)
        if window.claimants_unrolled:
            for n in tl.static_range(CLAIMANTS):
                hits, later = count_claim(
                    offsets, hits, later, own, image, h, w, channel, n // CLAIMANTS_WIDTH, n % CLAIMANTS_WIDTH,
                    out_height, out_width, channels, real, window,
                )  # fmt: skip
        else:
            for n in range(CLAIMANTS):
                hits, later = count_claim(
                    offsets, hits, later, own, image, h, w, channel, n // CLAIMANTS_WIDTH, n % CLAIMANTS_WIDTH,
                    out_height, out_width, channels, real, window,
                )  # fmt: skip
        if overlap == "last":
            value = tl.where(later, 0.0, value).to(value.dtype)
        else:
            accumulator: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
            value = divide(value.to(accumulator), tl.maximum(hits, 1))
    tl.store(output + own, value.to(output.dtype.element_ty), mask=inside)


def switch_gather2d_triton(
    x: Tensor,
    offsets: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    overlap: str,
) -> Tensor:
    """The gathered values; `wwae::switch_gather2d` on the Triton backend."""
    channels_last = is_channels_last(x)
    layout = memory_format(channels_last)
    x = x.contiguous(memory_format=layout)
    offsets = offsets.contiguous(memory_format=layout)
    batch, channels, height, width = x.shape
    out_height, out_width = offsets.shape[2:]
    window = Window.of(kernel_size, stride, padding, dilation)
    size = (batch, channels, out_height, out_width)
    output = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=layout)
    if output.numel() == 0:
        return output
    grid, rows, inner, tiling = tile_map(*size, channels_last)
    with torch.cuda.device_of(x):
        switch_gather2d_kernel[grid](
            x, offsets, output, rows, inner, height, width, out_height, out_width, window, overlap, tiling,
            num_warps=WARPS,
        )  # fmt: skip
    return output

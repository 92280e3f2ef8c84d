"""Unpooling: put every value back at the pixel its switch names.

Window (oh, ow) with offset r * KW + c claims pixel (oh * SH - PH + r * DH, ow * SW - PW + c * DW). A pixel is

    overlap = "last": the value of the last window, in raster order, that claims it
    overlap = "sum":  the sum of the claiming windows' values in raster order, in float32 for 16-bit floats
    overlap = "mean": that sum divided by their number

and 0 where no window claims it. An offset that names no real tap claims nothing. Deterministic: a program owns its
pixels and looks up the windows that may claim them, so every pixel is written once and no atomics are needed.

x and offsets [N, C, OH, OW], output [N, C, H, W], all in the layout of x. Two kernels:

* cells, for disjoint windows (any overlap): a program computes one tile of windows and writes the SH x SW cell of
  pixels that each has to itself. Bytes per output pixel of a 2 x 2 window and 16-bit floats: 0.5 + 0.25 + 2.
* claims, for all else: a program computes one tile of pixels; each of a pixel's ceil(extent / stride)^2 candidate
  windows is read, from cache after the first time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .cell import MAX_CELL, cell_grid, store_cell
from .tile import WARPS, Window, element_address, is_channels_last, memory_format, tile_elements, tile_map
from .window import claiming_window, divide


@triton.jit
def switch_unpool2d_cells_kernel(
    x,  # [N, C, OH, OW]
    offsets,  # [N, C, OH, OW], uint8, int16 or int32
    output,  # [N, C, H, W]
    rows,  # of the map of cells
    cells_height,
    cells_width,
    channels,
    height,
    width,
    out_height,
    out_width,
    window: tl.constexpr,
    tiling: tl.constexpr,
):
    # (image, oh, ow, channel) is a cell; those past the last window hold no value and are zero
    image, oh, ow, channel, inside = tile_elements(rows, cells_height, cells_width, channels, tiling)
    held = inside & (oh < out_height) & (ow < out_width)
    address = element_address(image, oh, ow, channel, out_height, out_width, channels)
    value = tl.load(x + address, mask=held, other=0.0)
    offset = tl.where(held, tl.load(offsets + address, mask=held, other=0).to(tl.int32), -1)
    store_cell(
        output, value, offset, image, oh, ow, channel, inside, rows, cells_height, cells_width, height, width,
        channels, window, tiling,
    )  # fmt: skip


@triton.jit
def add_claim(x, offsets, total, hits, image, h, w, channel, i, j, out_height, out_width, channels, inside,
              window: tl.constexpr, overlap: tl.constexpr):  # fmt: skip
    """Candidate window (i, j) of pixel (h, w) replaces the value so far ("last") or adds to it."""
    address, claim = claiming_window(offsets, image, h, w, channel, i, j, out_height, out_width, channels, inside, window)
    value = tl.load(x + address, mask=claim, other=0.0).to(total.dtype)
    total = tl.where(claim, value, total) if overlap == "last" else total + value
    return total, hits + claim.to(tl.int32)


@triton.jit
def switch_unpool2d_claims_kernel(
    x,  # [N, C, OH, OW]
    offsets,  # [N, C, OH, OW], uint8, int16 or int32
    output,  # [N, C, H, W]
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
    # (image, h, w, channel) is a pixel of the output
    CLAIMANTS: tl.constexpr = window.claimants
    CLAIMANTS_WIDTH: tl.constexpr = window.claimants_width
    image, h, w, channel, inside = tile_elements(rows, height, width, channels, tiling)
    accumulator: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    total = tl.zeros(inside.shape, accumulator)
    hits = tl.zeros(inside.shape, tl.int32)
    if window.claimants_unrolled:
        for n in tl.static_range(CLAIMANTS):
            total, hits = add_claim(
                x, offsets, total, hits, image, h, w, channel, n // CLAIMANTS_WIDTH, n % CLAIMANTS_WIDTH,
                out_height, out_width, channels, inside, window, overlap,
            )  # fmt: skip
    else:
        for n in range(CLAIMANTS):
            total, hits = add_claim(
                x, offsets, total, hits, image, h, w, channel, n // CLAIMANTS_WIDTH, n % CLAIMANTS_WIDTH,
                out_height, out_width, channels, inside, window, overlap,
            )  # fmt: skip
    if overlap == "mean":
        total = divide(total, tl.maximum(hits, 1))
    address = element_address(image, h, w, channel, height, width, channels)
    tl.store(output + address, total.to(output.dtype.element_ty), mask=inside)


def switch_unpool2d_triton(
    x: Tensor,
    offsets: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    output_size: Sequence[int],
    overlap: str,
) -> Tensor:
    """The unpooled map; `wwae::switch_unpool2d` on the Triton backend."""
    channels_last = is_channels_last(x)
    layout = memory_format(channels_last)
    x = x.contiguous(memory_format=layout)
    offsets = offsets.contiguous(memory_format=layout)
    batch, channels, out_height, out_width = x.shape
    height, width = output_size
    window = Window.of(kernel_size, stride, padding, dilation)
    output = torch.empty((batch, channels, height, width), dtype=x.dtype, device=x.device, memory_format=layout)
    if output.numel() == 0:
        return output
    with torch.cuda.device_of(x):
        if window.disjoint and window.cell <= MAX_CELL:
            cells = cell_grid(height, width, window)
            grid, rows, inner, tiling = tile_map(batch, channels, *cells, channels_last, line=width)
            switch_unpool2d_cells_kernel[grid](
                x, offsets, output, rows, *cells, inner, height, width, out_height, out_width, window, tiling,
                num_warps=WARPS,
            )  # fmt: skip
        else:
            overlap = "last" if window.disjoint else overlap  # a value that is not added keeps the sign of zero
            grid, rows, inner, tiling = tile_map(batch, channels, height, width, channels_last)
            switch_unpool2d_claims_kernel[grid](
                x, offsets, output, rows, inner, height, width, out_height, out_width, window, overlap, tiling,
                num_warps=WARPS,
            )  # fmt: skip
    return output

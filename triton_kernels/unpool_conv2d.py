"""Unpooling with switches and a convolution of the map they give, which is never written.

    output[n, o, h, w] = bias[o] + sum over c, r, s of weight[o, c, r, s] * unpooled[n, c, h + r - PH, w + s - PW]

(zeros around the unpooled map), and ReLU where wanted. A pixel of the unpooled map is the value of the last window, in
raster order, that claims it (switch_unpool2d.py), or 0. Sums are float32 (of tf32 products for float32), and rounded once.
Deterministic. The gradient of the input of conv_relu_pool2d with disjoint windows is this with mirrored weights.

A program convolves a tile of pixels (conv_tile.py). The pixels of a step are looked up: each from the windows that may
claim it, whose values and switches come from cache after the first time. They are multiplied with a whole column of the
kernel where `shared_rows` says so: looking them up takes longer than a product.

x and offsets [N, C, OH, OW], weight [O, C, KH, KW], output [N, O, H, W] in the layout of x. Bytes per element of the
unpooled map with 2 x 2 windows and 16-bit floats: 0.5 + 0.25, and 2 O / C for the output, where the composition has
0.5 + 0.25 + 2 for the map, and 2 + 2 O / C for the convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .conv_tile import (
    ConvTile,
    appended,
    joined_sums,
    moves_in_vectors,
    multiplicand,
    multiplies_from_shared_memory,
    refuse,
    tap_major,
    tap_weights,
    tile_place,
    unsupported_products,
    unsupported_unpooling,
    zero_sums,
)
from .tile import Window, is_channels_last, memory_format
from .window import unpooled

NAME = "unpool_conv2d"

# For kernels 3 high: on sm_90 and for many output channels, as many products as possible for a pixel that is looked up.
BROAD = ConvTile(16, 8, 128, 32, 3, 8, 2)
SHARING = ConvTile(16, 8, 64, 32, 3, 8, 2)
# For kernels of other heights and, before sm_90, windows that overlap, to stay within registers.
PLAIN = ConvTile(8, 16, 64, 32, 1, 4, 2)
# For what no vectors hold: it takes an address for every number.
SMALL = ConvTile(8, 8, 64, 16, 1, 4, 2)


@triton.jit
def unpool_conv2d_kernel(
    x,  # [N, C, OH, OW]
    offsets,  # [N, C, OH, OW], uint8, int16 or int32
    weight,  # [O, KH * KW, C]
    bias,  # [O] or None
    output,  # [N, O, H, W], with the strides below
    in_channels,
    map_height,  # of the unpooled map
    map_width,
    out_height,
    out_width,
    channels,
    height,
    width,
    image_stride,
    channel_stride,
    row_stride,
    column_stride,
    kernel_height: tl.constexpr,  # of the convolution
    kernel_width: tl.constexpr,
    padding_height: tl.constexpr,
    padding_width: tl.constexpr,
    relu: tl.constexpr,
    channels_last: tl.constexpr,
    window: tl.constexpr,
    tile: tl.constexpr,
):
    ROWS: tl.constexpr = tile.shared_rows
    TAPS: tl.constexpr = kernel_height * kernel_width
    STEPS: tl.constexpr = TAPS // ROWS
    image, row, column, first_channel = tile_place(height, width, channels, tile.whole_rows, tile.width, tile)
    pixel = tl.arange(0, tile.pixels)[None, :]
    top = row - padding_height + pixel // tile.width
    left = column - padding_width + pixel % tile.width
    o = first_channel + tl.arange(0, tile.channels)[:, None]
    depth = tl.arange(0, tile.depth)
    sums = zero_sums(tile)
    for step in range(tl.cdiv(in_channels, tile.depth) * STEPS):
        r = step % STEPS // kernel_width
        s = step % STEPS % kernel_width
        c = step // STEPS * tile.depth + depth
        h = top + r
        w = left + s
        inside = (h >= 0) & (h < map_height) & (w >= 0) & (w < map_width) & (c < in_channels)[:, None]
        if channels_last:
            pixels = unpooled(x, offsets, image, h, w, c[:, None], out_height, out_width, in_channels, inside, window)
        else:
            plane = image * in_channels + c[:, None]
            pixels = unpooled(x, offsets, plane, h, w, tl.zeros_like(plane), out_height, out_width, 1, inside, window)
        pixels = multiplicand(pixels)
        added = ()
        for below in tl.static_range(ROWS):
            tap = (r + below) * kernel_width + s
            weights = tap_weights(weight, tap, TAPS, o, channels, c[None, :], in_channels)
            added = appended(added, tl.dot(weights, pixels, sums[below]))
        sums = added
    total = joined_sums(sums, tile)
    channel = o[:, :, None]
    if bias is not None:
        total += tl.load(bias + channel, mask=channel < channels, other=0.0).to(tl.float32)
    if relu:
        total = tl.where(total <= 0, 0.0, total)
    h = row + tl.arange(0, tile.height)[None, :, None]
    w = column + tl.arange(0, tile.width)[None, None, :]
    whole = (h < row + tile.whole_rows) & (h < height) & (w < width) & (channel < channels)
    place = image.to(tl.int64) * image_stride + channel.to(tl.int64) * channel_stride
    place += h.to(tl.int64) * row_stride + w.to(tl.int64) * column_stride
    tl.store(output + place, total.to(output.dtype.element_ty), mask=whole)


def unpool_conv2d_triton(
    x: Tensor,
    offsets: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    output_size: Sequence[int],
    conv_padding: Sequence[int],
    relu: bool,
) -> Tensor:
    """The convolved map; `wwae::unpool_conv2d` on the Triton backend."""
    window = Window.of(kernel_size, stride, padding, dilation)
    refuse(NAME, unsupported_unpooling(window) or unsupported_products(x))
    kernel = weight.shape[2:]
    height, width = (size + 2 * pad - extent + 1 for size, pad, extent in zip(output_size, conv_padding, kernel, strict=True))
    channels_last = is_channels_last(x)
    layout = memory_format(channels_last)
    output = torch.empty((x.size(0), weight.size(0), height, width), dtype=x.dtype, device=x.device, memory_format=layout)
    if output.numel() == 0:
        return output
    x = x.contiguous(memory_format=layout)
    offsets = offsets.contiguous(memory_format=layout)
    tile = _tile(x, weight, window)
    grid = (tile.programs(x.size(0), (height, width), (tile.whole_rows, tile.width), weight.size(0)),)
    with torch.cuda.device_of(x):
        unpool_conv2d_kernel[grid](
            x, offsets, tap_major(weight, 1), None if bias is None else bias.contiguous(), output, x.size(1), *output_size,
            *x.shape[2:], weight.size(0), height, width, *output.stride(), *kernel, *conv_padding, relu, channels_last,
            window, tile, num_warps=tile.warps, num_stages=tile.stages,
        )  # fmt: skip
    return output


def _tile(x: Tensor, weight: Tensor, window: Window) -> ConvTile:
    if not moves_in_vectors(x):
        return SMALL
    shared_memory = multiplies_from_shared_memory(x)
    if weight.size(2) != SHARING.shared_rows or not (shared_memory or window.disjoint):
        return PLAIN
    return BROAD if shared_memory and weight.size(0) > SHARING.channels else SHARING

"""Convolution, bias, ReLU and max pooling in one pass: no full-resolution map is written.

    values[n, o, oh, ow] = max over real taps of relu(y[n, o, tap])
    y[n, o, h, w]        = bias[o] + sum over c, r, s of weight[o, c, r, s] * x[n, c, h + r - PH, w + s - PW]

(zeros around x), offsets as in switch_pool2d. Sums are float32 (of tf32 products for float32), and rounded before taps are
compared. A window of which ReLU leaves nothing has value 0 and the offset of its first real tap. Deterministic.

A program convolves a tile of pixels (conv_tile.py) that holds whole windows, and pools them in registers. Windows stand
2 apart and are 2 or 3 wide; tiles of 3-wide windows overlap by a row or column, whose convolution is done twice.

x [N, C, H, W] in any layout, weight [O, C, KH, KW], values and offsets [N, O, OH, OW] in the layout of x. Two kernels:

* descriptor, for sm_90 and newer and channels_last 16-bit maps: the tensor memory accelerator copies boxes of
  1 x height x width pixels by `depth` channels, shifted by the tap, with zeros outside the map, into shared memory, from
  where the tensor cores of a warpgroup read both operands;
* pointer, for all else: threads load what they own.

Bytes per element of the convolved map with 2 x 2 windows and 16-bit floats: 2 C / O for x, 0.5 + 0.25, where the composition
has 2 C / O + 2 for the convolution and 2 + 0.5 + 0.25 for the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from wwae.reference.window import offset_dtype, pooled_sizes

from .conv_tile import (
    ConvTile,
    appended,
    joined_sums,
    moves_in_vectors,
    multiplicand,
    multiplies_from_shared_memory,
    next_along,
    refuse,
    tap_major,
    tap_weights,
    tile_place,
    unsupported_products,
    zero_sums,
)
from .tile import Window, is_channels_last, memory_format
from .window import take_tap

NAME = "conv_relu_pool2d"

# Tiles of the descriptor kernel. Few output channels and 3 rows of taps: two programs a multiprocessor, each of which hides
# the other's pooling. Many output channels: as many products as possible for what is fetched.
SHARING = ConvTile(16, 8, 64, 64, 3, 4, 2)
NARROW = ConvTile(16, 16, 64, 64, 1, 8, 3)
BROAD = ConvTile(16, 16, 128, 64, 1, 8, 3)

POINTER = ConvTile(8, 16, 64, 32, 1, 4, 3)


@triton.jit
def quarters(value):
    """The elements [C, A // 2, B // 2] of [C, A, B] at even and odd places: (even, even), (even, odd), (odd, even), (odd, odd)."""
    C: tl.constexpr = value.shape[0]
    A: tl.constexpr = value.shape[1]
    B: tl.constexpr = value.shape[2]
    left, right = tl.split(tl.reshape(value, [C, A, B // 2, 2]))
    upper_left, lower_left = tl.split(tl.permute(tl.reshape(left, [C, A // 2, 2, B // 2]), [0, 1, 3, 2]))
    upper_right, lower_right = tl.split(tl.permute(tl.reshape(right, [C, A // 2, 2, B // 2]), [0, 1, 3, 2]))
    return upper_left, upper_right, lower_left, lower_right


@triton.jit
def store_pooled(
    total,  # [CHANNELS, HEIGHT, WIDTH]: the convolution, float32
    bias,
    values,
    offsets,
    image,
    row,  # the tile's first windows
    column,
    first_channel,
    channels,
    height,  # of the convolved map
    width,
    out_height,
    out_width,
    image_stride,
    channel_stride,
    row_stride,
    column_stride,
    window: tl.constexpr,
    tile: tl.constexpr,
):
    """Add the bias, apply ReLU, round, pool the windows that the tile holds whole, and store them."""
    KERNEL_HEIGHT: tl.constexpr = window.kernel_height
    KERNEL_WIDTH: tl.constexpr = window.kernel_width
    POOLED: tl.constexpr = [tile.channels, tile.height // 2, tile.width // 2]
    channel = first_channel + tl.arange(0, tile.channels)[:, None, None]
    if bias is not None:
        total += tl.load(bias + channel, mask=channel < channels, other=0.0).to(tl.float32)
    rounded = tl.where(total <= 0, 0.0, total).to(values.dtype.element_ty)
    taps = quarters(rounded)
    oh = row + tl.arange(0, POOLED[1])[None, :, None]
    ow = column + tl.arange(0, POOLED[2])[None, None, :]
    best = tl.full(POOLED, float("-inf"), tl.float32)
    offset = tl.full(POOLED, -1, tl.int32)
    for r in tl.static_range(KERNEL_HEIGHT):
        for c in tl.static_range(KERNEL_WIDTH):
            value = taps[r % 2 * 2 + c % 2]
            if r == 2:
                value = next_along(value, 1)
            if c == 2:
                value = next_along(value, 2)
            h = oh * 2 - window.padding_height + r
            w = ow * 2 - window.padding_width + c
            real = (h >= 0) & (h < height) & (w >= 0) & (w < width)
            best, offset = take_tap(value, real, r * KERNEL_WIDTH + c, best, offset)
    whole = (oh < row + windows_held(tile.whole_rows, KERNEL_HEIGHT)) & (oh < out_height)
    whole &= (ow < column + windows_held(tile.width, KERNEL_WIDTH)) & (ow < out_width)
    place = image.to(tl.int64) * image_stride + channel.to(tl.int64) * channel_stride
    place += oh.to(tl.int64) * row_stride + ow.to(tl.int64) * column_stride
    inside = whole & (channel < channels)
    tl.store(values + place, best.to(values.dtype.element_ty), mask=inside)
    tl.store(offsets + place, tl.maximum(offset, 0).to(offsets.dtype.element_ty), mask=inside)


@triton.constexpr_function
def windows_held(extent: int, kernel: int) -> int:
    """Windows of a kernel of 2 or 3 that stand 2 apart and lie whole within `extent`."""
    return (extent - kernel) // 2 + 1


@triton.jit
def conv_relu_pool2d_descriptor_kernel(
    x,  # boxes of [1, HEIGHT, WIDTH, DEPTH] of [N, H, W, C]
    weight,  # boxes of [CHANNELS, DEPTH] of [O, KH * KW * C]
    bias,  # [O] or None
    values,  # [N, O, OH, OW], as offsets, with the strides below
    offsets,
    in_channels,  # of weight: those of x, and zeros up to a multiple of DEPTH
    channels,
    height,  # of the convolved map
    width,
    out_height,
    out_width,
    image_stride,
    channel_stride,
    row_stride,
    column_stride,
    kernel_height: tl.constexpr,  # of the convolution
    kernel_width: tl.constexpr,
    padding_height: tl.constexpr,
    padding_width: tl.constexpr,
    window: tl.constexpr,
    tile: tl.constexpr,
):
    image, row, column, channel = tile_place(
        out_height, out_width, channels, windows_held(tile.whole_rows, window.kernel_height),
        windows_held(tile.width, window.kernel_width), tile,
    )  # fmt: skip
    top = row * 2 - window.padding_height - padding_height
    left = column * 2 - window.padding_width - padding_width
    sums = zero_sums(tile)
    ROWS: tl.constexpr = tile.shared_rows
    STEPS: tl.constexpr = kernel_height // ROWS * kernel_width
    for step in range(in_channels // tile.depth * STEPS):
        r = step % STEPS // kernel_width
        s = step % STEPS % kernel_width
        c = step // STEPS * tile.depth
        box = x.load([image, top + r, left + s, c])
        pixels = tl.reshape(box, [tile.pixels, tile.depth]).T
        added = ()
        for below in tl.static_range(ROWS):
            tap = (r + below) * kernel_width + s
            added = appended(added, tl.dot(weight.load([channel, tap * in_channels + c]), pixels, sums[below]))
        sums = added
    store_pooled(
        joined_sums(sums, tile), bias, values, offsets, image, row, column, channel, channels, height, width, out_height, out_width,
        image_stride, channel_stride, row_stride, column_stride, window, tile,
    )  # fmt: skip


@triton.jit
def conv_relu_pool2d_pointer_kernel(
    x,  # [N, C, H, W], with its strides after it
    x_image,
    x_channel,
    x_row,
    x_column,
    weight,  # [O, KH * KW, C]
    bias,  # [O] or None
    values,  # [N, O, OH, OW], as offsets, with the strides below
    offsets,
    in_channels,
    in_height,
    in_width,
    channels,
    height,  # of the convolved map
    width,
    out_height,
    out_width,
    image_stride,
    channel_stride,
    row_stride,
    column_stride,
    kernel_height: tl.constexpr,  # of the convolution
    kernel_width: tl.constexpr,
    padding_height: tl.constexpr,
    padding_width: tl.constexpr,
    window: tl.constexpr,
    tile: tl.constexpr,
):
    TAPS: tl.constexpr = kernel_height * kernel_width
    image, row, column, channel = tile_place(
        out_height, out_width, channels, windows_held(tile.whole_rows, window.kernel_height),
        windows_held(tile.width, window.kernel_width), tile,
    )  # fmt: skip
    pixel = tl.arange(0, tile.pixels)[None, :]
    top = row * 2 - window.padding_height - padding_height + pixel // tile.width
    left = column * 2 - window.padding_width - padding_width + pixel % tile.width
    x += image.to(tl.int64) * x_image
    o = channel + tl.arange(0, tile.channels)[:, None]
    depth = tl.arange(0, tile.depth)
    total = tl.zeros([tile.channels, tile.pixels], tl.float32)
    for step in range(tl.cdiv(in_channels, tile.depth) * TAPS):
        tap = step % TAPS
        c = step // TAPS * tile.depth + depth
        h = top + tap // kernel_width
        w = left + tap % kernel_width
        real = (h >= 0) & (h < in_height) & (w >= 0) & (w < in_width) & (c < in_channels)[:, None]
        place = h.to(tl.int64) * x_row + w.to(tl.int64) * x_column + c.to(tl.int64)[:, None] * x_channel
        pixels = multiplicand(tl.load(x + place, mask=real, other=0.0))
        total = tl.dot(tap_weights(weight, tap, TAPS, o, channels, c[None, :], in_channels), pixels, total)
    store_pooled(
        tl.reshape(total, [tile.channels, tile.height, tile.width]), bias, values, offsets, image, row, column, channel,
        channels, height, width, out_height, out_width, image_stride, channel_stride, row_stride, column_stride, window, tile,
    )  # fmt: skip


def conv_relu_pool2d_triton(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    conv_stride: Sequence[int],
    conv_padding: Sequence[int],
    conv_dilation: Sequence[int],
    groups: int,
) -> tuple[Tensor, Tensor]:
    """Values and offsets; `wwae::conv_relu_pool2d` on the Triton backend."""
    window = Window.of(kernel_size, stride, padding, dilation)
    refuse(NAME, _unsupported(window, conv_stride, conv_dilation, groups) or unsupported_products(x))
    kernel = weight.shape[2:]
    height, width = (size + 2 * pad - extent + 1 for size, pad, extent in zip(x.shape[2:], conv_padding, kernel, strict=True))
    out_size = pooled_sizes((height, width), kernel_size, stride, padding, dilation, ceil_mode)
    shape, layout = (x.size(0), weight.size(0), *out_size), memory_format(is_channels_last(x))
    values = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
    offsets = torch.empty(shape, dtype=offset_dtype(kernel_size), device=x.device, memory_format=layout)
    if values.numel() == 0:
        return values, offsets
    bias = None if bias is None else bias.contiguous()
    sizes = (weight.size(0), height, width, *out_size, *values.stride(), *kernel, *conv_padding, window)
    described = _copied_in_boxes(x)
    tile = _descriptor_tile(weight) if described else POINTER
    taps = tap_major(weight, tile.depth if described else 1)
    step = windows_held(tile.whole_rows, window.kernel_height), windows_held(tile.width, window.kernel_width)
    grid = (tile.programs(x.size(0), out_size, step, weight.size(0)),)
    with torch.cuda.device_of(x):
        if described:
            boxes = TensorDescriptor.from_tensor(x.permute(0, 2, 3, 1), [1, tile.height, tile.width, tile.depth])
            weights = TensorDescriptor.from_tensor(taps.flatten(1), [tile.channels, tile.depth])
            conv_relu_pool2d_descriptor_kernel[grid](
                boxes, weights, bias, values, offsets, taps.size(2), *sizes, tile,
                num_warps=tile.warps, num_stages=tile.stages,
            )  # fmt: skip
        else:
            conv_relu_pool2d_pointer_kernel[grid](
                x, *x.stride(), taps, bias, values, offsets, *x.shape[1:], *sizes, tile,
                num_warps=tile.warps, num_stages=tile.stages,
            )  # fmt: skip
    return values, offsets


def _unsupported(window: Window, conv_stride: Sequence[int], conv_dilation: Sequence[int], groups: int) -> str | None:
    """What is convolved and pooled, in words; None where these arguments ask for that."""
    if groups != 1 or max(*conv_stride, *conv_dilation) != 1:
        return f"conv_stride=1, conv_dilation=1 and groups=1, got {tuple(conv_stride)}, {tuple(conv_dilation)} and {groups}"
    kernel = window.kernel_height, window.kernel_width
    stride = window.stride_height, window.stride_width
    dilation = window.dilation_height, window.dilation_width
    if stride != (2, 2) or dilation != (1, 1) or not {*kernel} <= {2, 3}:
        return f"windows 2 or 3 high and wide, stride=2 and dilation=1, got kernel_size={kernel}, {stride} and {dilation}"
    return None


def _copied_in_boxes(x: Tensor) -> bool:
    """A map whose boxes the tensor memory accelerator can copy: every pixel begins at a multiple of 16 bytes."""
    aligned = x.data_ptr() % 16 == 0 and all(stride % 8 == 0 for stride in (x.stride(0), *x.stride()[2:]))
    return multiplies_from_shared_memory(x) and moves_in_vectors(x) and aligned


def _descriptor_tile(weight: Tensor) -> ConvTile:
    if weight.size(0) > 64:
        return BROAD
    return SHARING if weight.size(2) == SHARING.shared_rows else NARROW

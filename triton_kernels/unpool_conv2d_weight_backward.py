"""The gradient of a convolution's weights where one of its two maps is unpooled, and never written.

    output[o, i, r, s] = sum over n, h, w of dense[n, o, h, w] * unpooled[n, i, h + r - PH, w + s - PW]

A pixel of the unpooled map is the value of the last window, in raster order, that claims it (switch_unpool2d.py), or 0.
Sums are float32 (of tf32 products for float32). Deterministic: the order of the sums depends on the shapes alone, and
there are no atomics.

The product of a matrix [O, pixels] and a matrix [pixels, I] for each tap. A program takes a strip of the unpooled map's
pixels, `outputs` x `inputs` channels and one row of the kernel, and has a sum for each tap of the row: a pixel is looked
up once and multiplied with the pixels of dense that each tap puts beside it. The sums of all strips are written, and
added by a second pass.

x and offsets [N, I, OH, OW], dense [N, O, H, W], in the layout of x; output [O, I, KH, KW] contiguous. Bytes per element
of the unpooled map with 2 x 2 windows and 16-bit floats: 0.5 + 0.25, and 2 O / I for dense, where the composition has
0.5 + 0.25 + 2 for the map and 2 + 2 O / I for the gradient of the weights. The strips' sums are 4 strips KH KW O I.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from wwae.reference.window import memory_format

from .conv_tile import (
    appended,
    moves_in_vectors,
    multiplicand,
    multiplies_from_shared_memory,
    refuse,
    unsupported_products,
    unsupported_unpooling,
)
from .tile import Window, element_address
from .window import unpooled

NAME = "unpool_conv2d_weight_backward"

# A program holds a sum for each tap of a row of the kernel: 32 to 160 numbers a thread.
WIDEST_KERNEL = 5

# Programs that fill a large GPU several times; more would only make more sums of strips.
PROGRAMS = 512


@dataclass(frozen=True)
class GradientTile:
    """The compile-time shape of a program's part of the product."""

    outputs: int
    inputs: int
    pixels: int
    """Of one step."""
    warps: int
    stages: int


FROM_SHARED_MEMORY = GradientTile(64, 64, 64, 4, 2)
FROM_REGISTERS = GradientTile(64, 64, 32, 4, 3)
# Of kernels 4 and 5 wide, and of what no vectors hold (it takes an address for every number), to stay within registers.
WIDE_KERNEL = GradientTile(64, 32, 32, 4, 2)
SMALL = GradientTile(32, 32, 32, 4, 1)


@triton.jit
def layout_address(image, h, w, channel, height, width, channels, channels_last: tl.constexpr):
    """Position of (image, h, w, channel) in a map of that layout, in elements."""
    if channels_last:
        return element_address(image, h, w, channel, height, width, channels)
    return element_address(image * channels + channel, h, w, 0, height, width, 1)


@triton.jit
def unpool_conv2d_weight_backward_kernel(
    x,  # [N, I, OH, OW]
    offsets,  # [N, I, OH, OW], uint8, int16 or int32
    dense,  # [N, O, H, W]
    partial,  # [strips, O, KH, KW, I]
    pixels,  # of the unpooled map, in all images
    steps,  # of a strip
    inputs,
    map_height,  # of the unpooled map
    map_width,
    out_height,
    out_width,
    outputs,
    height,  # of dense
    width,
    kernel_height: tl.constexpr,  # of the convolution
    kernel_width: tl.constexpr,
    padding_height: tl.constexpr,
    padding_width: tl.constexpr,
    channels_last: tl.constexpr,
    wide: tl.constexpr,  # pixels are counted in 64 bits
    window: tl.constexpr,
    tile: tl.constexpr,
):
    # Programs of one strip are neighbours, so that they find it in cache.
    input_blocks = tl.cdiv(inputs, tile.inputs)
    output_blocks = tl.cdiv(outputs, tile.outputs)
    r = tl.program_id(0) % kernel_height
    place = tl.program_id(0) // kernel_height
    i = place % input_blocks * tile.inputs + tl.arange(0, tile.inputs)[None, :]
    place = place // input_blocks
    o = place % output_blocks * tile.outputs + tl.arange(0, tile.outputs)[None, :]
    strip = (place // output_blocks).to(tl.int64 if wide else tl.int32)
    sums = ()
    for _ in tl.static_range(kernel_width):
        sums = appended(sums, tl.zeros([tile.outputs, tile.inputs], tl.float32))
    for step in range(steps):
        pixel = (strip * steps + step) * tile.pixels + tl.arange(0, tile.pixels)[:, None]
        w = pixel % map_width
        h = pixel // map_width % map_height
        image = pixel // map_width // map_height
        inside = (pixel < pixels) & (i < inputs)
        if channels_last:
            looked_up = unpooled(x, offsets, image, h, w, i, out_height, out_width, inputs, inside, window)
        else:
            plane = image * inputs + i
            looked_up = unpooled(x, offsets, plane, h, w, tl.zeros_like(plane), out_height, out_width, 1, inside, window)
        looked_up = multiplicand(looked_up)
        row = h + padding_height - r
        added = ()
        for s in tl.static_range(kernel_width):
            column = w + padding_width - s
            real = (pixel < pixels) & (row >= 0) & (row < height) & (column >= 0) & (column < width) & (o < outputs)
            address = layout_address(image, row, column, o, height, width, outputs, channels_last)
            beside = multiplicand(tl.load(dense + address, mask=real, other=0.0))
            added = appended(added, tl.dot(beside.T, looked_up, sums[s]))
        sums = added
    o = tl.reshape(o, [tile.outputs, 1])
    for s in tl.static_range(kernel_width):
        address = element_address(strip * outputs + o, r, s, i, kernel_height, kernel_width, inputs)
        tl.store(partial + address, sums[s], mask=(o < outputs) & (i < inputs))


def unpool_conv2d_weight_backward_triton(
    x: Tensor,
    offsets: Tensor,
    dense: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    output_size: Sequence[int],
    conv_kernel_size: Sequence[int],
    conv_padding: Sequence[int],
) -> Tensor:
    """The gradient of the weights; `wwae::unpool_conv2d_weight_backward` on the Triton backend."""
    window = Window.of(kernel_size, stride, padding, dilation)
    refuse(NAME, unsupported_unpooling(window) or unsupported_products(x) or _unsupported_kernel(conv_kernel_size))
    batch, inputs = x.shape[:2]
    outputs, taps = dense.size(1), (conv_kernel_size[0], conv_kernel_size[1])
    tile = _tile(x, dense, taps[1])
    pixels = batch * output_size[0] * output_size[1]
    blocks = taps[0] * triton.cdiv(outputs, tile.outputs) * triton.cdiv(inputs, tile.inputs)
    all_steps = triton.cdiv(pixels, tile.pixels)
    steps = triton.cdiv(all_steps, max(min(PROGRAMS // max(blocks, 1), all_steps), 1))
    strips = triton.cdiv(all_steps, max(steps, 1))
    partial = torch.empty((strips, outputs, *taps, inputs), dtype=torch.float32, device=x.device)
    layout = memory_format(x)
    if partial.numel() > 0:
        x, offsets, dense = (map_.contiguous(memory_format=layout) for map_ in (x, offsets, dense))
        wide = strips * steps * tile.pixels >= 2**31
        with torch.cuda.device_of(x):
            unpool_conv2d_weight_backward_kernel[(strips * blocks,)](
                x, offsets, dense, partial, pixels, steps, inputs, *output_size, *x.shape[2:], *dense.shape[1:], *taps,
                *conv_padding, layout == torch.channels_last, wide, window, tile, num_warps=tile.warps, num_stages=tile.stages,
            )  # fmt: skip
    return partial.sum(0).to(x.dtype).permute(0, 3, 1, 2).contiguous(memory_format=layout)


def _unsupported_kernel(kernel_size: Sequence[int]) -> str | None:
    return None if kernel_size[1] <= WIDEST_KERNEL else f"kernels at most {WIDEST_KERNEL} wide, got {tuple(kernel_size)}"


def _tile(x: Tensor, dense: Tensor, kernel_width: int) -> GradientTile:
    if not (moves_in_vectors(x) and moves_in_vectors(dense)):
        return SMALL
    if kernel_width > 3:
        return WIDE_KERNEL
    return FROM_SHARED_MEMORY if multiplies_from_shared_memory(x) else FROM_REGISTERS

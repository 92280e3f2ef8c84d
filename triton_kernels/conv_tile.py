"""What the kernels that convolve share: the tile of a program, and the types their products are taken in.

A convolution is a product of matrices that are never written: a row is a pixel of the output, a column an output channel,
and the inner dimension runs over the taps of the kernel within a block of input channels (so that the pixels around a
tile are read again while they are in cache), block after block. A program owns `height` x `width` neighbouring pixels of
one image and `channels` output channels, and adds in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from .tile import is_channels_last


@dataclass(frozen=True)
class ConvTile:
    """The compile-time shape of a program's part of a convolution."""

    height: int
    """Pixels, a power of two, as the next three."""
    width: int
    channels: int
    """Output channels."""
    depth: int
    """Input channels of one product."""
    warps: int
    stages: int
    """Products whose operands are in flight at once."""

    @property
    def pixels(self) -> int:
        return self.height * self.width

    def programs(self, batch: int, size: Sequence[int], step: Sequence[int], channels: int) -> int:
        """Of a grid in which tiles stand `step` pixels apart on maps of `size`."""
        rows, columns = (triton.cdiv(extent, apart) for extent, apart in zip(size, step, strict=True))
        return batch * rows * columns * triton.cdiv(channels, self.channels)


def takes_descriptors(x: Tensor) -> bool:
    """A map whose boxes the tensor memory accelerator of sm_90 can copy, in 16-bit floats, which its tensor cores then take."""
    aligned = x.data_ptr() % 16 == 0 and all(stride % 8 == 0 for stride in (x.stride(0), *x.stride()[2:]))
    dense = is_channels_last(x) and aligned and x.size(1) % 8 == 0 and x.numel() > 0
    return dense and x.element_size() == 2 and (x.device.type != "cuda" or torch.cuda.get_device_capability(x.device) >= (9, 0))


def tap_major(weight: Tensor, depth: int) -> Tensor:
    """The weights (O, C, KH, KW) as [O, KH * KW, C] in memory, where they lie if they are channels_last already.

    Zeros fill the channels up to a multiple of depth.
    """
    taps = weight.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).flatten(1, 2)
    return torch.nn.functional.pad(taps, (0, -taps.size(2) % depth)).contiguous()


@triton.jit
def tile_place(size_height, size_width, channels, step_height: tl.constexpr, step_width: tl.constexpr, tile: tl.constexpr):
    """This program's (image, first row, first column, first output channel); the blocks of channels of a tile are neighbours."""
    blocks = tl.cdiv(channels, tile.channels)
    place = tl.program_id(0) // blocks
    columns = tl.cdiv(size_width, step_width)
    rows = tl.cdiv(size_height, step_height)
    column = place % columns
    row = place // columns % rows
    return place // (columns * rows), row * step_height, column * step_width, tl.program_id(0) % blocks * tile.channels


@triton.jit
def multiplicand(x):
    """What tensor cores multiply: 16-bit floats as they are, float32 rounded to the 11 bits of tf32, to nearest even."""
    if x.dtype == tl.float32:
        bits = x.to(tl.uint32, bitcast=True)
        rounded = (bits + 0x0FFF + ((bits >> 13) & 1)) & 0xFFFFE000
        x = tl.where((bits & 0x7F800000) == 0x7F800000, bits, rounded).to(tl.float32, bitcast=True)
    return x


@triton.jit
def tap_weights(weight, tap, taps: tl.constexpr, o, out_channels, c, channels):
    """weight[o, tap, c] of [O, TAPS, C], 0 past its end: o is [CHANNELS, 1], c is [1, DEPTH]."""
    place = (o.to(tl.int64) * taps + tap) * channels + c
    return multiplicand(tl.load(weight + place, mask=(o < out_channels) & (c < channels), other=0.0))

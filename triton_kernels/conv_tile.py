"""What the kernels that convolve share: the tile of a program, and the types their products are taken in.

A convolution is a product of matrices that are never written: a row is an output channel, a column a pixel of the output,
and the inner dimension runs over blocks of input channels, within each over the taps of the kernel, so that the pixels
around a tile are read again while they are in cache. A program owns `height` x `width` neighbouring pixels of one image
and `channels` output channels, and adds in float32. With pixels as columns, a thread of a tensor core holds neighbouring
pixels of a line and of neighbouring lines: 2 x 2 windows are pooled in registers.

Each pixel is wanted by every tap, and where there are few output channels, fetching it over and over takes longer than
multiplying it. With `shared_rows` the pixels of a tile, fetched once for a column of the kernel, are multiplied with all
rows of that column, into sums of their own, which are shifted by their row and added at the end. The last rows of a tile
are then not whole, and belong to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from .tile import Window, is_channels_last

# Windows that may claim a pixel: 4 of 3 x 3 windows that stand 2 apart. Each is looked up for every tap.
MOST_CLAIMANTS = 4


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
    shared_rows: int
    """Rows of the kernel that are multiplied with the same pixels: 1, or all of an odd number of them."""
    warps: int
    stages: int
    """Steps whose operands are in flight at once."""

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def whole_rows(self) -> int:
        """Rows of the tile whose sums are complete: the last ones lack the rows below the tile."""
        return self.height - self.shared_rows + 1

    def programs(self, batch: int, size: Sequence[int], step: Sequence[int], channels: int) -> int:
        """Of a grid in which tiles stand `step` pixels apart on maps of `size`."""
        rows, columns = (triton.cdiv(extent, apart) for extent, apart in zip(size, step, strict=True))
        return batch * rows * columns * triton.cdiv(channels, self.channels)


def refuse(operation: str, reason: str | None) -> None:
    """Raise what a kernel raises for arguments that it does not take, before anything is touched."""
    if reason is not None:
        raise RuntimeError(f"{operation}: the Triton kernel takes {reason}")


def unsupported_products(x: Tensor) -> str | None:
    """What tensor cores multiply, in words; None where x holds such numbers."""
    if x.dtype == torch.float32:
        if torch.backends.cudnn.conv.fp32_precision == "tf32":
            return None
        return "float32 only with tf32 products, which torch.backends.cudnn.conv.fp32_precision or .allow_tf32 forbid"
    return None if x.dtype in (torch.bfloat16, torch.float16) else f"bfloat16, float16 and float32, got {str(x.dtype)[6:]}"


def unsupported_unpooling(window: Window) -> str | None:
    """The windows whose switches are looked up, in words; None where they are such."""
    if window.claimants <= MOST_CLAIMANTS:
        return None
    return f"windows of which at most {MOST_CLAIMANTS} hold a pixel, got {window.claimants}"


def multiplies_from_shared_memory(x: Tensor) -> bool:
    """16-bit floats on sm_90 or newer, whose tensor cores read both operands out of a large shared memory."""
    return x.element_size() == 2 and (x.device.type == "cpu" or torch.cuda.get_device_capability(x.device) >= (9, 0))


def moves_in_vectors(x: Tensor) -> bool:
    """A channels_last map of 16-bit floats whose channels are whole 16-byte vectors."""
    return x.element_size() == 2 and is_channels_last(x) and x.size(1) % 8 == 0


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
def next_along(value, axis: tl.constexpr):
    """The next element along axis 1 or 2 of [C, A, B]; the last repeats itself."""
    place = tl.minimum(tl.arange(0, value.shape[axis]) + 1, value.shape[axis] - 1)
    place = place[None, :, None] if axis == 1 else place[None, None, :]
    return tl.gather(value, tl.broadcast_to(place, value.shape), axis)


@triton.jit
def appended(sums, one):
    return sums + (one,)  # noqa: RUF005  (Triton knows no starred expressions)


@triton.jit
def zero_sums(tile: tl.constexpr):
    """The sums of each shared row of the kernel, [CHANNELS, PIXELS]."""
    SHARED: tl.constexpr = tile.shared_rows
    sums = ()
    for _ in tl.static_range(SHARED):
        sums = appended(sums, tl.zeros([tile.channels, tile.pixels], tl.float32))
    return sums


@triton.jit
def joined_sums(sums, tile: tl.constexpr):
    """The convolution [CHANNELS, HEIGHT, WIDTH] of the whole rows: row h is the sum over r of row h + r of sums[r]."""
    SHARED: tl.constexpr = tile.shared_rows
    SHAPE: tl.constexpr = [tile.channels, tile.height, tile.width]
    total = tl.reshape(sums[SHARED - 1], SHAPE)
    for r in tl.static_range(1, SHARED):
        total = tl.reshape(sums[SHARED - 1 - r], SHAPE) + next_along(total, 1)
    return total


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

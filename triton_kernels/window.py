"""What the window kernels share: the scan for a window's maximum, and the windows that claim a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from wwae.reference.window import offset_dtype, pooled_sizes, spatial_size

from .tile import Window, element_address, is_channels_last, memory_format, pair_addresses, tile_map


class Pooled(NamedTuple):
    """A map and the windows that pool it, as the host functions of all poolings see them."""

    x: Tensor
    """In the layout of the kernels."""
    window: Window
    size: tuple[int, int, int, int]
    """(N, C, OH, OW)."""
    channels_last: bool

    @classmethod
    def of(
        cls,
        x: Tensor,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        ceil_mode: bool,
    ) -> Pooled:
        channels_last = is_channels_last(x)
        window = Window.of(kernel_size, stride, padding, dilation)
        windows = pooled_sizes(spatial_size(x), kernel_size, stride, padding, dilation, ceil_mode)
        return cls(x.contiguous(memory_format=memory_format(channels_last)), window, (*x.shape[:2], *windows), channels_last)

    def empty(self, dtype: torch.dtype) -> Tensor:
        """Of the pooled size."""
        layout = memory_format(self.channels_last)
        return torch.empty(self.size, dtype=dtype, device=self.x.device, memory_format=layout)

    def empty_offsets(self) -> Tensor:
        return self.empty(offset_dtype((self.window.kernel_height, self.window.kernel_width)))

    def tiles(self) -> tuple:
        """Of the pooled map: grid, rows, channels of a row's element, tiling."""
        return tile_map(*self.size, self.channels_last, line=self.x.size(3))


@triton.jit
def take_tap(value, real, tap, best, offset):
    """Compare a tap with the best so far: a larger number, any NaN and the first real tap replace it."""
    value = value.to(best.dtype)
    better = real & ((value > best) | (value != value) | (offset < 0))
    return tl.where(better, value, best), tl.where(better, tap, offset)


@triton.jit
def load_tap(x, image, channel, h, w, height, width, channels, inside):
    """Pixel (h, w) and whether it is real."""
    real = inside & (h >= 0) & (h < height) & (w >= 0) & (w < width)
    return tl.load(x + element_address(image, h, w, channel, height, width, channels), mask=real, other=0.0), real


@triton.jit
def activate(value, mean, scale, bias):
    """What a tap goes through before it is compared, in float32 for 16-bit floats, rounded: relu((value - mean) * scale
    + bias), without mean relu(value + bias), without bias nothing."""
    if bias is not None:
        wide = value.to(bias.dtype)
        if mean is not None:
            wide = (wide - mean) * scale
        wide += bias
        value = tl.where(wide <= 0, 0.0, wide).to(value.dtype)
    return value


@triton.jit
def window_maximum(
    x, image, channel, oh, ow, rows, height, width, out_height, out_width, channels, inside, window: tl.constexpr,
    tiling: tl.constexpr, mean=None, scale=None, bias=None,
):  # fmt: skip
    """The maximum of window (oh, ow) after activate and its offset; -inf and -1 where no tap is real.

    16-bit floats are compared as float32, which holds them exactly. mean, scale and bias broadcast to the tile.
    """
    KERNEL_HEIGHT: tl.constexpr = window.kernel_height
    KERNEL_WIDTH: tl.constexpr = window.kernel_width
    TAPS: tl.constexpr = window.taps
    h0 = oh * window.stride_height - window.padding_height
    w0 = ow * window.stride_width - window.padding_width
    accumulator: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    best = tl.full(inside.shape, float("-inf"), accumulator)
    offset = tl.full(inside.shape, -1, tl.int32)
    if tiling.paired(window) and window.unrolled:
        rows_inside = image * out_height + oh < rows
        for r in tl.static_range(KERNEL_HEIGHT):
            h = h0 + r * window.dilation_height
            addresses, real = pair_addresses(image, h, rows_inside, out_width, height, width, tiling)
            pairs = tl.load(x + addresses, mask=real, other=0.0)
            left, right = tl.split(tl.reshape(activate(pairs, mean, scale, bias), [tiling.rows, tiling.columns, 2]))
            line_real = inside & (h >= 0) & (h < height)
            best, offset = take_tap(left, line_real & (w0 < width), r * 2, best, offset)
            best, offset = take_tap(right, line_real & (w0 + 1 < width), r * 2 + 1, best, offset)
    elif window.unrolled:
        for tap in tl.static_range(TAPS):
            h = h0 + tap // KERNEL_WIDTH * window.dilation_height
            w = w0 + tap % KERNEL_WIDTH * window.dilation_width
            value, real = load_tap(x, image, channel, h, w, height, width, channels, inside)
            best, offset = take_tap(activate(value, mean, scale, bias), real, tap, best, offset)
    else:
        for tap in range(TAPS):
            h = h0 + tap // KERNEL_WIDTH * window.dilation_height
            w = w0 + tap % KERNEL_WIDTH * window.dilation_width
            value, real = load_tap(x, image, channel, h, w, height, width, channels, inside)
            best, offset = take_tap(activate(value, mean, scale, bias), real, tap, best, offset)
    return best, offset


@triton.jit
def switch_pixel(offset, oh, ow, height, width, inside, window: tl.constexpr):
    """The pixel (h, w) that window (oh, ow) points at, and whether it is one."""
    r = offset // window.kernel_width
    c = offset % window.kernel_width
    h = oh * window.stride_height - window.padding_height + r * window.dilation_height
    w = ow * window.stride_width - window.padding_width + c * window.dilation_width
    real = inside & (offset >= 0) & (r < window.kernel_height) & (h >= 0) & (h < height) & (w >= 0) & (w < width)
    return h, w, real


@triton.jit
def candidate_window(image, h, w, channel, i, j, out_height, out_width, channels, inside, window: tl.constexpr):
    """Candidate (i, j) of the windows that hold pixel (h, w), in raster order: its position, whether it does, and its tap there.

    The last window that can hold row h is (h + PH) // SH.
    """
    oh = (h + window.padding_height) // window.stride_height - (window.claimants_height - 1) + i
    ow = (w + window.padding_width) // window.stride_width - (window.claimants_width - 1) + j
    below = h + window.padding_height - oh * window.stride_height  # the window's start, in pixels, never negative
    right = w + window.padding_width - ow * window.stride_width
    r = below // window.dilation_height
    c = right // window.dilation_width
    candidate = inside & (oh >= 0) & (oh < out_height) & (ow >= 0) & (ow < out_width)
    candidate &= (r < window.kernel_height) & (below % window.dilation_height == 0)
    candidate &= (c < window.kernel_width) & (right % window.dilation_width == 0)
    address = element_address(image, oh, ow, channel, out_height, out_width, channels)
    return address, candidate, r * window.kernel_width + c


@triton.jit
def claiming_window(offsets, image, h, w, channel, i, j, out_height, out_width, channels, inside, window: tl.constexpr):
    """Candidate (i, j) for pixel (h, w): its position, and whether it claims the pixel, its offset naming that very tap."""
    address, candidate, tap = candidate_window(image, h, w, channel, i, j, out_height, out_width, channels, inside, window)
    offset = tl.load(offsets + address, mask=candidate, other=0).to(tl.int32)
    return address, candidate & (offset == tap)


@triton.jit
def unpooled(x, offsets, image, h, w, channel, out_height, out_width, channels, inside, window: tl.constexpr):
    """Pixel (h, w) of the unpooled map: the value of the last window that claims it, 0 where none does or it is not inside.

    Values are loaded whatever their switches say: so the two loads go side by side, and in vectors.
    """
    CLAIMANTS: tl.constexpr = window.claimants
    CLAIMANTS_WIDTH: tl.constexpr = window.claimants_width
    pixel = tl.zeros(inside.shape, x.dtype.element_ty)
    for n in tl.static_range(CLAIMANTS):
        address, candidate, tap = candidate_window(
            image, h, w, channel, n // CLAIMANTS_WIDTH, n % CLAIMANTS_WIDTH, out_height, out_width, channels, inside, window
        )
        offset = tl.load(offsets + address, mask=candidate, other=0)
        value = tl.load(x + address, mask=candidate, other=0.0)
        pixel = tl.where(candidate & (offset == tap), value, pixel)
    return pixel


@triton.jit
def divide(total, hits):
    """total / hits rounded to nearest; the plain `/` of float32 is an approximation on the GPU."""
    return total / hits.to(tl.float64) if total.dtype == tl.float64 else tl.div_rn(total, hits.to(tl.float32))

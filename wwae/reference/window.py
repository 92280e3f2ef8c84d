"""Where pooling windows lie: the arithmetic that pooling and unpooling share.

Window ``(oh, ow)`` has ``KH * KW`` taps; tap ``(r, c)`` stands at row ``oh * stride - padding + r * dilation`` of the map (columns
likewise) and has the offset ``r * KW + c``. A tap inside the map is *real*, one in the padding is not.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

Pair = tuple[int, int]


def pooled_size(size: int, kernel_size: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """Number of windows along one axis of ``size`` elements, as PyTorch counts them."""
    span = size + 2 * padding - dilation * (kernel_size - 1) - 1
    if not ceil_mode:
        return span // stride + 1
    windows = (span + stride - 1) // stride + 1
    # The last window must start inside the map or its left padding.
    return windows - 1 if (windows - 1) * stride >= size + padding else windows


def pooled_sizes(input_size: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Pair:
    """``(OH, OW)`` for a map of ``input_size`` ``(H, W)``."""
    (h, w), (kh, kw), (sh, sw), (ph, pw), (dh, dw) = input_size, kernel_size, stride, padding, dilation
    return pooled_size(h, kh, sh, ph, dh, ceil_mode), pooled_size(w, kw, sw, pw, dw, ceil_mode)


def spatial_size(x: Tensor) -> Pair:
    """``(H, W)`` of a tensor whose last two dimensions are rows and columns."""
    shape = x.shape
    return shape[-2], shape[-1]


def side_by_side(kernel_size: Pair, stride: Pair, dilation: Pair) -> bool:
    """Whether no window reaches into the next one, so that no two can point at one element."""
    return all(s >= (k - 1) * d + 1 for k, s, d in zip(kernel_size, stride, dilation, strict=True))


def offset_dtype(kernel_size: Pair) -> torch.dtype:
    """The smallest of uint8, int16 and int32 that holds every offset of a window."""
    taps = kernel_size[0] * kernel_size[1]
    if taps <= 256:
        return torch.uint8
    return torch.int16 if taps <= 32768 else torch.int32


def memory_format(x: Tensor) -> torch.memory_format:
    """The layout an operation works and answers in, from the strides of its first argument.

    Channels-last when neighbouring channels are neighbours in memory and neighbouring columns are not, whatever the sizes: a map
    of one pixel shows its layout by its strides alone.
    """
    if x.size(1) > 1 and x.stride(1) == 1 and x.stride(3) >= x.size(1):
        return torch.channels_last
    return torch.contiguous_format


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type in which values of ``dtype`` are added."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def padded_map(x: Tensor, windows: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, fill) -> Tensor:
    """``x`` surrounded by ``fill`` so far that every tap of every window lies inside."""
    bottom, right = (
        max(0, (o - 1) * s - p + (k - 1) * d + 1 - size)
        for o, s, p, k, d, size in zip(windows, stride, padding, kernel_size, dilation, x.shape[-2:], strict=True)
    )
    return torch.nn.functional.pad(x, (padding[1], right, padding[0], bottom), value=fill)


def tap_views(padded: Tensor, windows: Pair, kernel_size: Pair, stride: Pair, dilation: Pair) -> Iterator[tuple[int, Tensor]]:
    """``(offset, view)`` for each tap in raster order; ``view[..., oh, ow]`` is that tap of window ``(oh, ow)`` of ``padded``."""
    (oh, ow), (kh, kw), (sh, sw), (dh, dw) = windows, kernel_size, stride, dilation
    for r in range(kh):
        rows = slice(r * dh, r * dh + (oh - 1) * sh + 1, sh)
        for c in range(kw):
            yield r * kw + c, padded[..., rows, c * dw : c * dw + (ow - 1) * sw + 1 : sw]


def switch_positions(
    offsets: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, input_size: Pair
) -> tuple[Tensor, Tensor, Tensor]:
    """Row, column and realness of the tap that each offset names: three tensors of the shape of ``offsets``.

    An offset outside the window, or one in the padding, is not real.
    """
    offsets = offsets.to(torch.int64)
    oh, ow = (torch.arange(n, device=offsets.device) for n in offsets.shape[-2:])
    r = torch.div(offsets, kernel_size[1], rounding_mode="floor")
    c = offsets - r * kernel_size[1]
    row = (oh * stride[0] - padding[0]).unsqueeze(-1) + r * dilation[0]
    column = (ow * stride[1] - padding[1]) + c * dilation[1]
    real = (r >= 0) & (r < kernel_size[0]) & (row >= 0) & (row < input_size[0]) & (column >= 0) & (column < input_size[1])
    return row, column, real

"""All taps of all windows at once, as tensors ``(N, C, OH, OW, KH, KW)``: what the soft operations are written in.

Windows have no dilation. :func:`window_taps` and :func:`add_windows` are linear, each the transpose of the other, and made of
functions that PyTorch differentiates any number of times in both modes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.reference.window import Pair


def window_taps(x: Tensor, windows: Pair, kernel_size: Pair, stride: Pair, padding: Pair) -> Tensor:
    """``taps[n, c, oh, ow, i, j]`` is tap ``(i, j)`` of window ``(oh, ow)`` of ``x`` ``(N, C, H, W)``, 0 outside of the map."""
    bottom, right = (
        (o - 1) * s + k - p - size for o, k, s, p, size in zip(windows, kernel_size, stride, padding, x.shape[-2:], strict=True)
    )
    padded = torch.nn.functional.pad(x, (padding[1], right, padding[0], bottom))
    return padded.unfold(2, kernel_size[0], stride[0]).unfold(3, kernel_size[1], stride[1])


def add_windows(taps: Tensor, stride: Pair, padding: Pair, size: Pair) -> Tensor:
    """The map ``(N, C, H, W)`` of ``size`` where every element is the sum of the taps that stand there."""
    batch, channels, oh, ow, kh, kw = taps.shape
    height, width = (oh - 1) * stride[0] + kh, (ow - 1) * stride[1] + kw
    columns = taps.permute(0, 1, 4, 5, 2, 3).reshape(batch * channels, kh * kw, oh * ow)
    covered = torch.nn.functional.fold(columns, (height, width), (kh, kw), stride=tuple(stride))
    bottom, right = size[0] + padding[0] - height, size[1] + padding[1] - width
    return torch.nn.functional.pad(covered.view(batch, channels, height, width), (-padding[1], right, -padding[0], bottom))


def tap_positions(kernel_size: int, like: Tensor) -> Tensor:
    """Where the taps of an axis stand: evenly from -1 to 1, at 0 if there is one."""
    taps = torch.arange(kernel_size, dtype=like.dtype, device=like.device)
    return (2 * taps - (kernel_size - 1)) / max(kernel_size - 1, 1)


def pairs_in_layout(pairs: Tensor, layout: torch.memory_format) -> Tensor:
    """``pairs`` ``(N, C, OH, OW, 2)`` with each pair side by side in memory, the pairs as a map in ``layout`` has its elements."""
    if layout == torch.channels_last:
        return pairs.permute(0, 2, 3, 1, 4).contiguous().permute(0, 3, 1, 2, 4)
    return pairs.contiguous()


def empty_pairs(like: Tensor, windows: Pair, dtype: torch.dtype, layout: torch.memory_format) -> Tensor:
    """Memory for pairs ``(N, C, OH, OW, 2)``, laid out as :func:`pairs_in_layout` does; ``like`` is ``(N, C, H, W)``."""
    batch, channels = like.shape[:2]
    if layout == torch.channels_last:
        return torch.empty((batch, *windows, channels, 2), dtype=dtype, device=like.device).permute(0, 3, 1, 2, 4)
    return torch.empty((batch, channels, *windows, 2), dtype=dtype, device=like.device)

"""Batch normalisation, ReLU and max pooling: in training one pass for the statistics, and one for all the rest.

    values[n, c, oh, ow] = max over real taps of relu((x[n, c, tap] - mean[c]) * scale[c] + bias[c])
    scale[c]             = weight[c] / sqrt(variance[c] + eps)

in float32 for 16-bit floats, rounded before taps are compared, and without fused multiply-adds, so that every backend
picks the same tap. Offsets as in bias_relu_pool2d.

Statistics: a program sums, over one strip of x (see channel_sums.py), the distances d from the strip's first element in
each channel, and d * d. The distances stay small where the mean is large, so both sums keep their digits; strips are
put together in float64. Deterministic.

x [N, C, H, W], values and offsets [N, C, OH, OW], all in the layout of x; mean, variance, weight and bias [C]. Bytes per
element of x with a disjoint 2 x 2 window and 16-bit floats: 2 for the statistics, 2 + 0.5 + 0.25 for the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from wwae.reference.window import accumulation_dtype

from .channel_sums import Strips, channel_number, store_sum, strip_map, strip_places
from .relu_pool_backward import load_parameter
from .tile import (
    WARPS,
    element_address,
    strip_elements,
    tile_elements,
    wide_parameter,
)
from .window import Pooled, divide, window_maximum


@triton.jit
def statistics_kernel(
    x,  # [N, C, H, W]
    partial,  # [3, ...]: first element, sum of the distances, sum of their squares, of each strip
    size,  # of one of the three
    rows,
    channels,
    height,
    width,
    steps,
    tiling: tl.constexpr,
):
    # (image, h, w, channel) is a pixel
    place, real = strip_places(rows, channels, tiling)
    image, h, w, channel, inside = strip_elements(0, steps, rows, height, width, channels, tiling)
    address = element_address(image, h, w, channel, height, width, channels)
    # The first row of a channels_last tile, the first column of a contiguous one.
    first = address - (tl.arange(0, tiling.rows)[:, None] * channels if tiling.channels_last else w)
    first = tl.min(first, axis=0 if tiling.channels_last else 1, keep_dims=True)
    accumulator: tl.constexpr = partial.dtype.element_ty
    origin = tl.load(x + first, mask=real, other=0.0).to(accumulator)
    distance = tl.zeros([tiling.rows, tiling.columns], accumulator)
    square = tl.zeros([tiling.rows, tiling.columns], accumulator)
    for step in range(steps):
        image, h, w, channel, inside = strip_elements(step, steps, rows, height, width, channels, tiling)
        address = element_address(image, h, w, channel, height, width, channels)
        d = tl.where(inside, tl.load(x + address, mask=inside, other=0.0).to(accumulator) - origin, 0.0)
        distance += d
        square += d * d
    tl.store(partial + place, origin, mask=real)
    store_sum(partial + size, distance, place, real, tiling)
    store_sum(partial + 2 * size, square, place, real, tiling)


@triton.jit
def batch_norm_relu_pool2d_fwd_kernel(
    x,  # [N, C, H, W]
    mean,  # [C], float32 or float64, as are the next three
    shifted,  # variance + eps
    weight,
    bias,
    values,  # [N, C, OH, OW]
    offsets,  # [N, C, OH, OW], uint8, int16 or int32
    rows,  # of the pooled map
    channels,
    map_channels,
    height,
    width,
    out_height,
    out_width,
    window: tl.constexpr,
    tiling: tl.constexpr,
):
    # (image, oh, ow, channel) is an element of the pooled map
    image, oh, ow, channel, inside = tile_elements(rows, out_height, out_width, channels, tiling)
    number = channel_number(image, channel, map_channels, tiling)
    spread = load_parameter(shifted, number, map_channels)
    deviation = tl.sqrt(spread) if spread.dtype == tl.float64 else tl.sqrt_rn(spread)
    best, offset = window_maximum(
        x, image, channel, oh, ow, rows, height, width, out_height, out_width, channels, inside, window, tiling,
        mean=load_parameter(mean, number, map_channels),
        scale=divide(load_parameter(weight, number, map_channels), deviation),
        bias=load_parameter(bias, number, map_channels),
    )  # fmt: skip
    address = element_address(image, oh, ow, channel, out_height, out_width, channels)
    tl.store(values + address, best.to(values.dtype.element_ty), mask=inside)
    tl.store(offsets + address, tl.maximum(offset, 0).to(offsets.dtype.element_ty), mask=inside)


def channel_statistics(x: Tensor, channels_last: bool) -> tuple[Tensor, Tensor]:
    """Mean and variance (divided by the count) of each channel of x, which is in that layout."""
    batch, channels, height, width = x.shape
    wide = accumulation_dtype(x.dtype)
    if x.numel() == 0:
        return (torch.full((channels,), torch.nan, dtype=wide, device=x.device),) * 2
    strips = strip_map(batch, channels, height, width, channels_last)
    partial = torch.empty((3, *strips.partial), dtype=wide, device=x.device)
    with torch.cuda.device_of(x):
        statistics_kernel[strips.grid](
            x, partial, partial[0].numel(), strips.rows, strips.channels, height, width, strips.steps, strips.tiling,
            num_warps=WARPS,
        )  # fmt: skip
    origin, distance, square = partial.double()
    counts = _counts(strips, batch * height * width, width, x.device)
    return tuple(moment.to(wide) for moment in _join(strips, origin, distance, square, counts))  # type: ignore[return-value]


def _counts(strips: Strips, pixels: int, width: int, device: torch.device) -> Tensor:
    """Elements of a channel in each strip, float64, to be broadcast over a part of the partial sums."""
    if not strips.tiling.channels_last:
        return torch.full((1, 1, 1), width, dtype=torch.float64, device=device)
    size = strips.tiling.rows * strips.steps
    counts = torch.full((strips.partial[0], 1), size, dtype=torch.float64, device=device)
    counts[-1] = pixels - (strips.partial[0] - 1) * size
    return counts


def _join(strips: Strips, origin: Tensor, distance: Tensor, square: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of all strips, (C,) each, from what was summed about an origin of each strip (float64)."""
    counts = counts.expand(strips.partial)
    total = strips.over_channels(counts[None])[0]
    means = origin + distance / counts
    mean = strips.over_channels((means * counts)[None])[0] / total
    centre = mean if strips.tiling.channels_last else mean[:, None]
    scatter = square - distance * distance / counts + counts * (means - centre).square()
    return mean, (strips.over_channels(scatter[None])[0] / total).clamp(min=0)


def batch_norm_relu_pool2d_triton(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    eps: float,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Values, offsets, mean and variance; `wwae::batch_norm_relu_pool2d` on the Triton backend."""
    pooled = Pooled.of(x, kernel_size, stride, padding, dilation, ceil_mode)
    values = pooled.empty(x.dtype)
    offsets = pooled.empty_offsets()
    if mean is None or variance is None:
        mean, variance = channel_statistics(pooled.x, pooled.channels_last)
    else:
        mean, variance = (given.to(accumulation_dtype(x.dtype), copy=True) for given in (mean, variance))
    if values.numel() == 0:
        return values, offsets, mean, variance
    parameters = (mean, variance + eps, wide_parameter(weight, x), wide_parameter(bias, x))
    grid, rows, inner, tiling = pooled.tiles()
    with torch.cuda.device_of(x):
        batch_norm_relu_pool2d_fwd_kernel[grid](
            pooled.x, *parameters, values, offsets, rows, inner, *x.shape[1:], *pooled.size[2:], pooled.window, tiling,
            num_warps=2 * WARPS if x.dtype == torch.float64 else WARPS,  # half as many registers a thread
            enable_fp_fusion=False,
        )  # fmt: skip
    return values, offsets, mean, variance

"""Bias, ReLU and max pooling in one pass.

    values[n, c, oh, ow] = max over real taps of relu(x[n, c, tap] + bias[c]), offsets as in switch_pool2d

The sum is float32 for 16-bit floats, and rounded before taps are compared. A window of which ReLU leaves nothing has
value 0 and the offset of its first real tap. Deterministic: every output is written once, by one program.

x [N, C, H, W], values and offsets [N, C, OH, OW], all in the layout of x; a program computes one tile of windows
(see tile.py). Bytes per element of x with a disjoint 2 x 2 window and 16-bit floats: 2 + 0.5 + 0.25.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .channel_sums import channel_number
from .relu_pool_backward import load_parameter
from .tile import WARPS, element_address, tile_elements, wide_parameter
from .window import Pooled, window_maximum


@triton.jit
def bias_relu_pool2d_fwd_kernel(
    x,  # [N, C, H, W]
    bias,  # [C], float32 or float64
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
    best, offset = window_maximum(
        x, image, channel, oh, ow, rows, height, width, out_height, out_width, channels, inside, window, tiling,
        bias=load_parameter(bias, number, map_channels),
    )  # fmt: skip
    address = element_address(image, oh, ow, channel, out_height, out_width, channels)
    tl.store(values + address, best.to(values.dtype.element_ty), mask=inside)
    tl.store(offsets + address, tl.maximum(offset, 0).to(offsets.dtype.element_ty), mask=inside)


def bias_relu_pool2d_triton(
    x: Tensor,
    bias: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:
    """Values and offsets; `wwae::bias_relu_pool2d` on the Triton backend."""
    pooled = Pooled.of(x, kernel_size, stride, padding, dilation, ceil_mode)
    values = pooled.empty(x.dtype)
    offsets = pooled.empty_offsets()
    if values.numel() == 0:
        return values, offsets
    grid, rows, inner, tiling = pooled.tiles()
    with torch.cuda.device_of(x):
        bias_relu_pool2d_fwd_kernel[grid](
            pooled.x, wide_parameter(bias, x), values, offsets, rows, inner, *x.shape[1:], *pooled.size[2:],
            pooled.window, tiling, num_warps=WARPS,
        )  # fmt: skip
    return values, offsets

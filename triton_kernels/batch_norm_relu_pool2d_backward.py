"""The gradients of batch_norm_relu_pool2d: two sums over the windows, then one pass over the map.

    g                the gradient where the pooled value is positive or NaN, else 0
    grad_bias[c]   = sum over n, oh, ow of g
    grad_weight[c] = sum over n, oh, ow of g * (x at the switch - mean[c]) / deviation[c]
    grad_x         = G * scale + ((x - mean) * slope + shift), G being the sum of the g that point at the pixel

with scale = weight / deviation, and in training slope = -scale * sum(g (x - mean)) / (deviation^2 N H W) and
shift = -scale * sum(g) / (N H W); in evaluation grad_x = G * scale, and x is not read.

grad, values and offsets [N, C, OH, OW], x [N, C, H, W], all in the layout of grad. A program adds up one strip of
windows (see channel_sums.py), reading x at the switches. Deterministic: the order of the sums is fixed, and there are
no atomics. Bytes per element of x of a 2 x 2 window and 16-bit floats: 0.5 + 0.5 + 0.25 + 2 (every sector of x holds
some window's pixel) for the sums, 0.5 + 0.5 + 0.25 + 2 + 2 for the map (relu_pool_backward.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from wwae.reference.window import accumulation_dtype

from .channel_sums import channel_number, store_sum, strip_map, strip_places
from .relu_pool_backward import load_parameter, passed_gradient, write_map_gradient
from .tile import (
    WARPS,
    Window,
    element_address,
    is_channels_last,
    memory_format,
    strip_elements,
    wide_parameter,
)
from .window import switch_pixel


@triton.jit
def batch_norm_sums_kernel(
    grad,  # [N, C, OH, OW]
    values,  # [N, C, OH, OW]
    offsets,  # [N, C, OH, OW], uint8, int16 or int32
    x,  # [N, C, H, W]
    mean,  # [C]
    partial,  # [2, ...]: the sums of g and of g (x - mean), of each strip
    size,  # of one of the two
    rows,
    channels,
    map_channels,
    height,
    width,
    out_height,
    out_width,
    steps,
    window: tl.constexpr,
    tiling: tl.constexpr,
):
    # (image, oh, ow, channel) is a window
    passed = tl.zeros([tiling.rows, tiling.columns], partial.dtype.element_ty)
    moment = tl.zeros([tiling.rows, tiling.columns], partial.dtype.element_ty)
    for step in range(steps):
        image, oh, ow, channel, inside = strip_elements(step, steps, rows, out_height, out_width, channels, tiling)
        address = element_address(image, oh, ow, channel, out_height, out_width, channels)
        gradient = passed_gradient(grad, values, address, inside)
        offset = tl.load(offsets + address, mask=inside, other=0).to(tl.int32)
        h, w, real = switch_pixel(offset, oh, ow, height, width, inside, window)
        pixel = tl.load(x + element_address(image, h, w, channel, height, width, channels), mask=real, other=0.0)
        centre = load_parameter(mean, channel_number(image, channel, map_channels, tiling), map_channels)
        # A gradient of 0 has no part, whatever x is there.
        moment += tl.where(real & (gradient != 0), gradient * (pixel.to(passed.dtype) - centre), 0.0)
        passed += gradient
    place, exists = strip_places(rows, channels, tiling)
    store_sum(partial, passed, place, exists, tiling)
    store_sum(partial + size, moment, place, exists, tiling)


def batch_norm_relu_pool2d_backward_triton(
    grad: Tensor,
    values: Tensor,
    offsets: Tensor,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor,
    training: bool,
    eps: float,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, weight and bias; `wwae::batch_norm_relu_pool2d_backward` on the Triton backend."""
    channels_last = is_channels_last(grad)
    layout = memory_format(channels_last)
    grad, values, offsets, x = (tensor.contiguous(memory_format=layout) for tensor in (grad, values, offsets, x))
    mean = wide_parameter(mean, x)
    batch, channels, height, width = x.shape
    out_height, out_width = grad.shape[2:]
    window = Window.of(kernel_size, stride, padding, dilation)
    wide = accumulation_dtype(x.dtype)
    output = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=layout)
    if grad.numel() == 0:
        return output.zero_(), *torch.zeros((2, channels), dtype=wide, device=x.device)
    strips = strip_map(batch, channels, out_height, out_width, channels_last)
    partial = torch.empty((2, *strips.partial), dtype=wide, device=x.device)
    with torch.cuda.device_of(grad):
        batch_norm_sums_kernel[strips.grid](
            grad, values, offsets, x, mean, partial, partial[0].numel(), strips.rows, strips.channels, channels, height,
            width, out_height, out_width, strips.steps, window, strips.tiling, num_warps=WARPS,
        )  # fmt: skip
    passed, moment = strips.over_channels(partial)
    deviation = (variance.double() + eps).sqrt()
    scale, count = weight.double() / deviation, batch * height * width
    slope, shift = -scale * moment / (deviation * deviation * count), -scale * passed / count
    coefficients: list[Tensor | None] = [part.to(wide) for part in (scale, slope, shift)]
    if training:
        write_map_gradient(grad, values, offsets, output, window, channels_last, x, mean, coefficients)
    else:
        coefficients[1:] = None, None
        write_map_gradient(grad, values, offsets, output, window, channels_last, coefficients=coefficients)
    return output, (moment / deviation).to(wide), passed.to(wide)

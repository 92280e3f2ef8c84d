"""The gradients of bias_relu_pool2d: of the map, written by relu_pool_backward, and of the bias.

    grad_bias[c] = sum over n, oh, ow of grad[n, c, oh, ow] where values[n, c, oh, ow] is positive or NaN

grad, values and offsets [N, C, OH, OW] in the layout of grad; a program adds up one strip (see channel_sums.py).
Deterministic: the order of the sums is fixed, and there are no atomics. Bytes per element of a 2 x 2 window and 16-bit
floats: 0.5 + 0.5 for the sum, besides the map's 0.5 + 0.5 + 0.25 + 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from wwae.reference.window import accumulation_dtype

from .channel_sums import store_sum, strip_map, strip_places
from .relu_pool_backward import passed_gradient, write_map_gradient
from .tile import WARPS, Window, element_address, is_channels_last, memory_format, strip_elements


@triton.jit
def bias_sums_kernel(
    grad,  # [N, C, OH, OW]
    values,  # [N, C, OH, OW]
    partial,  # a sum for each strip
    rows,
    channels,
    out_height,
    out_width,
    steps,
    tiling: tl.constexpr,
):
    # (image, oh, ow, channel) is a window
    total = tl.zeros([tiling.rows, tiling.columns], partial.dtype.element_ty)
    for step in range(steps):
        image, oh, ow, channel, inside = strip_elements(step, steps, rows, out_height, out_width, channels, tiling)
        address = element_address(image, oh, ow, channel, out_height, out_width, channels)
        total += passed_gradient(grad, values, address, inside)
    place, real = strip_places(rows, channels, tiling)
    store_sum(partial, total, place, real, tiling)


def bias_relu_pool2d_backward_triton(
    grad: Tensor,
    values: Tensor,
    offsets: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    input_size: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """The gradients of the map and of the bias; `wwae::bias_relu_pool2d_backward` on the Triton backend."""
    channels_last = is_channels_last(grad)
    layout = memory_format(channels_last)
    grad, values, offsets = (tensor.contiguous(memory_format=layout) for tensor in (grad, values, offsets))
    batch, channels, out_height, out_width = grad.shape
    window = Window.of(kernel_size, stride, padding, dilation)
    output = torch.empty((batch, channels, *input_size), dtype=grad.dtype, device=grad.device, memory_format=layout)
    wide = accumulation_dtype(grad.dtype)
    if grad.numel() == 0:
        return output.zero_(), torch.zeros(channels, dtype=wide, device=grad.device)
    strips = strip_map(batch, channels, out_height, out_width, channels_last)
    partial = torch.empty((1, *strips.partial), dtype=wide, device=grad.device)
    with torch.cuda.device_of(grad):
        bias_sums_kernel[strips.grid](
            grad, values, partial, strips.rows, strips.channels, out_height, out_width, strips.steps, strips.tiling,
            num_warps=WARPS,
        )  # fmt: skip
    if output.numel():
        write_map_gradient(grad, values, offsets, output, window, channels_last)
    return output, strips.over_channels(partial)[0].to(wide)

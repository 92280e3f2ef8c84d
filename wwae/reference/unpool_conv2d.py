"""Unpooling and convolution in one."""

from __future__ import annotations

from torch import Tensor

from wwae.reference.convolution import convolution
from wwae.reference.relu import relu as rectified
from wwae.reference.switch_unpool2d import switch_unpool2d_reference
from wwae.reference.window import Pair, memory_format


def unpool_conv2d_reference(
    x: Tensor,
    offsets: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    output_size: Pair,
    conv_padding: Pair,
    relu: bool,
) -> Tensor:
    """``conv2d(unpool(x), weight, bias)``, with ``relu`` what that leaves of it: ``(N, O, H, W)`` in the layout of ``x``.

    ``unpool(x)`` is the map ``(N, I, *output_size)`` where the last of several windows on one element wins. Sums and bias are
    float32 for bfloat16 and float16, and rounded once to the dtype of ``x``.
    """
    full = switch_unpool2d_reference(x, offsets, kernel_size, stride, padding, dilation, output_size, "last")
    sums = convolution(full, weight, bias, (1, 1), conv_padding, (1, 1), 1).to(x.dtype)
    return (rectified(sums) if relu else sums).contiguous(memory_format=memory_format(x))

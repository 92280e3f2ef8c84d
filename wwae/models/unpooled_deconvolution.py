"""Unpooling and the transposed convolution after it, in one."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.ops import Switches, switch_unpool2d, unpool_conv2d
from wwae.ops._convolution import mirrored, mirrored_padding

__all__ = ["unpooled_deconvolution"]


def unpooled_deconvolution(
    x: Tensor, switches: Switches, weight: Tensor, bias: Tensor | None, padding: int | tuple[int, int], relu: bool
) -> Tensor:
    """``conv_transpose2d(switch_unpool2d(x, switches), weight, bias, padding=padding)``, and ReLU where wanted.

    Args:
        x (Tensor[N, I, OH, OW]): pooled values.
        switches (Switches): of their pooling.
        weight (Tensor[I, O, KH, KW]): of the transposed convolution, whose stride is 1.
        bias (Tensor[O] or None): one number a channel of the result.
        padding (int or pair): of the transposed convolution, less than its kernel.
        relu (bool): whether ReLU follows.
    """
    if x.device.type == "cpu":
        # Nothing is fused there, and the mirrored weights would be one more copy.
        sums = torch.nn.functional.conv_transpose2d(switch_unpool2d(x, switches), weight, bias, padding=padding)
        return sums.relu() if relu else sums
    return in_one(x, switches, weight, bias, padding, relu)


def in_one(
    x: Tensor, switches: Switches, weight: Tensor, bias: Tensor | None, padding: int | tuple[int, int], relu: bool
) -> Tensor:
    """:func:`unpooled_deconvolution` as a convolution with mirrored weights."""
    pads = (padding, padding) if isinstance(padding, int) else padding
    activation = "relu" if relu else None
    return unpool_conv2d(x, switches, mirrored(weight), bias, mirrored_padding(weight, pads), activation)

"""The gradients of batch normalisation, ReLU and max pooling in one."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.reference.relu import masked_gradient, per_channel
from wwae.reference.switch_gather2d import switch_gather2d_reference
from wwae.reference.switch_unpool2d import switch_unpool2d_reference
from wwae.reference.window import Pair, accumulation_dtype, memory_format, spatial_size, switch_positions


def batch_norm_relu_pool2d_backward_reference(
    grad: Tensor,
    values: Tensor,
    offsets: Tensor,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor,
    training: bool,
    eps: float,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of ``x`` ``(N, C, H, W)``, ``weight`` and ``bias`` ``(C,)``, from that of the pooled values.

    With ``h = (x - mean) / sqrt(variance + eps)`` and ``g`` what ReLU lets through of ``grad``, both at the switches: ``bias`` gets
    ``sum(g)``, ``weight`` gets ``sum(g h)``, and ``x`` gets ``weight / sqrt(variance + eps)`` times the unpooled ``g``, less, in
    training, ``(sum(g) + h sum(g h)) / (N H W)``, because mean and variance move with ``x`` then. Sums are float64. All are 0 for
    an empty batch, which has no variance.
    """
    geometry = kernel_size, stride, padding, dilation
    wide, size = accumulation_dtype(grad.dtype), spatial_size(x)
    passed = masked_gradient(grad, values).to(wide)
    # A gradient of 0 and a switch that names no tap have no part, whatever x is.
    takes_part = switch_positions(offsets, *geometry, size)[2] & (passed != 0)
    centred = x.to(wide) - per_channel(mean, wide)
    at_switches = torch.where(takes_part, switch_gather2d_reference(centred, offsets, *geometry, "sum"), 0)
    grad_bias = passed.to(torch.float64).sum((0, 2, 3))
    moment = (passed.to(torch.float64) * at_switches.to(torch.float64)).sum((0, 2, 3))

    deviation = (variance.to(torch.float64) + eps).sqrt() if x.numel() > 0 else torch.ones_like(grad_bias)
    scale = weight.to(torch.float64) / deviation
    full = switch_unpool2d_reference(passed, offsets, *geometry, size, "sum") * per_channel(scale, wide)
    if training:
        count = x.numel() // x.shape[1]
        shift, slope = -scale * grad_bias / count, -scale * moment / (deviation * deviation * count)
        full = full + (centred * per_channel(slope, wide) + per_channel(shift, wide))
    grad_x = full.to(x.dtype).contiguous(memory_format=memory_format(grad))
    return grad_x, (moment / deviation).to(wide), grad_bias.to(wide)

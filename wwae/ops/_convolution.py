"""What the operations with a convolution have in common."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wwae.ops._arguments import require_like
from wwae.reference.window import Pair, pooled_sizes

_CAST = (torch.float32, torch.bfloat16, torch.float16)


def require_convolution(
    operation: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Pair:
    """``(H, W)`` of convolving a map of ``size`` with as many channels as ``x``; refused with PyTorch's limits."""
    for argument, values, least in (("conv_stride", stride, 1), ("conv_padding", padding, 0), ("conv_dilation", dilation, 1)):
        if min(values) < least:
            raise RuntimeError(f"{operation}: expected {argument} >= {least}, got {tuple(values)}")
    if groups < 1:
        raise RuntimeError(f"{operation}: expected groups >= 1, got {groups}")
    for argument, parameter in (("weight", weight), ("bias", bias)):
        if not isinstance(parameter, Tensor) and (argument == "weight" or parameter is not None):
            raise TypeError(f"{operation}: expected {argument} to be a tensor, got {type(parameter).__name__}")
    channels = x.shape[-3]
    if weight.dim() != 4 or any(length == 0 for length in weight.shape):
        raise RuntimeError(
            f"{operation}: expected weight of shape (O, I / groups, KH, KW), each at least 1, got {tuple(weight.shape)}"
        )
    if weight.shape[1] * groups != channels:
        inputs = str(channels // groups) if channels % groups == 0 else f"{channels} / {groups}"
        grouped = f" and groups={groups}" if groups > 1 else ""
        raise RuntimeError(
            f"{operation}: expected weight of shape (O, {inputs}, KH, KW) for x with {channels} channels{grouped},"
            f" got {tuple(weight.shape)}"
        )
    if weight.shape[0] % groups != 0:
        raise RuntimeError(
            f"{operation}: expected the output channels of weight divisible by groups={groups}, got {weight.shape[0]}"
        )
    require_like(operation, "weight", weight, weight.shape, x.dtype, x)
    if bias is not None:
        require_like(operation, "bias", bias, weight.shape[:1], x.dtype, x)
    result = pooled_sizes(size, (weight.shape[2], weight.shape[3]), stride, padding, dilation, False)
    if any(length < 1 for length in result):
        raise RuntimeError(
            f"{operation}: Kernel size can't be greater than actual input size: expected a map that holds weight of shape"
            f" {tuple(weight.shape)} with conv_padding={tuple(padding)} and conv_dilation={tuple(dilation)}, got {tuple(size)}"
        )
    return result


def autocast(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The tensors as autocast has a convolution take them: in its dtype, where it is on; float64 stays."""
    device = x.device.type
    if device == "meta" or not torch.is_autocast_enabled(device):  # PyTorch has no autocast for meta, not even one that is off
        return x, weight, bias
    dtype = torch.get_autocast_dtype(device)
    return _cast(x, dtype), _cast(weight, dtype), None if bias is None else _cast(bias, dtype)


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if isinstance(tensor, Tensor) and tensor.dtype in _CAST else tensor


def mirrored(weight: Tensor) -> Tensor:
    """``(I, O, KH, KW)`` from ``(O, I, KH, KW)``: the weights of the transposed convolution, whose padding is ``K - 1 - p``."""
    return weight.flip((2, 3)).transpose(0, 1)


def mirrored_padding(weight: Tensor, padding: Sequence[int]) -> Pair:
    """The padding that goes with :func:`mirrored`; negative where the convolution pads by more than its kernel reaches."""
    return weight.shape[2] - 1 - padding[0], weight.shape[3] - 1 - padding[1]

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
    if min(stride) < 1 or min(padding) < 0 or min(dilation) < 1:
        for argument, values, least in (("conv_stride", stride, 1), ("conv_padding", padding, 0), ("conv_dilation", dilation, 1)):
            if min(values) < least:
                raise RuntimeError(f"{operation}: expected {argument} >= {least}, got {tuple(values)}")
    if groups < 1:
        raise RuntimeError(f"{operation}: expected groups >= 1, got {groups}")
    if not isinstance(weight, Tensor):
        raise TypeError(f"{operation}: expected weight to be a tensor, got {type(weight).__name__}")
    if bias is not None and not isinstance(bias, Tensor):
        raise TypeError(f"{operation}: expected bias to be a tensor, got {type(bias).__name__}")
    channels, shape = x.shape[-3], weight.shape
    if len(shape) != 4 or 0 in shape:
        raise RuntimeError(f"{operation}: expected weight of shape (O, I / groups, KH, KW), each at least 1, got {tuple(shape)}")
    if shape[1] * groups != channels:
        inputs = str(channels // groups) if channels % groups == 0 else f"{channels} / {groups}"
        grouped = f" and groups={groups}" if groups > 1 else ""
        raise RuntimeError(
            f"{operation}: expected weight of shape (O, {inputs}, KH, KW) for x with {channels} channels{grouped},"
            f" got {tuple(shape)}"
        )
    if shape[0] % groups != 0:
        raise RuntimeError(f"{operation}: expected the output channels of weight divisible by groups={groups}, got {shape[0]}")
    require_like(operation, "weight", weight, shape, x.dtype, x)
    if bias is not None:
        require_like(operation, "bias", bias, (shape[0],), x.dtype, x)
    result = pooled_sizes(size, (shape[2], shape[3]), stride, padding, dilation, False)
    if result[0] < 1 or result[1] < 1:
        raise RuntimeError(
            f"{operation}: Kernel size can't be greater than actual input size: expected a map that holds weight of shape"
            f" {tuple(shape)} with conv_padding={tuple(padding)} and conv_dilation={tuple(dilation)}, got {tuple(size)}"
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

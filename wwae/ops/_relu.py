"""What the operations that apply bias or batch norm and ReLU before they pool have in common."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from wwae.reference.window import accumulation_dtype


def require_parameter(operation: str, argument: str, parameter: Tensor, x: Tensor) -> None:
    """Refuse what is not one number a channel of ``x``, in the dtype of ``x`` or the wider one it is computed in."""
    if not isinstance(parameter, Tensor):
        raise TypeError(f"{operation}: expected {argument} to be a tensor, got {type(parameter).__name__}")
    channels = x.shape[-3]
    if tuple(parameter.shape) != (channels,):
        raise RuntimeError(
            f"{operation}: expected {argument} of shape ({channels},), one number a channel of x, got {tuple(parameter.shape)}"
        )
    wide = accumulation_dtype(x.dtype)
    if parameter.dtype not in (x.dtype, wide):
        allowed = f"{x.dtype} or {wide}" if wide != x.dtype else str(wide)
        raise RuntimeError(f"{operation}: expected {argument} of dtype {allowed} for x of {x.dtype}, got {parameter.dtype}")
    if parameter.device != x.device:
        raise RuntimeError(f"{operation}: expected {argument} on {x.device}, the device of x, got {parameter.device}")


def per_channel(parameter: Tensor) -> Tensor:
    """``(C,)`` shaped to meet maps ``(N, C, H, W)``."""
    return parameter.view(-1, 1, 1)


def masked_gradient(grad: Tensor, values: Tensor) -> Tensor:
    """``grad`` where the pooled ReLU let its input through: where ``values`` is positive or NaN; else 0. Differentiable."""
    return torch.ops.aten.threshold_backward(grad, values, 0)


def differentiated_again() -> bool:
    """Whether a backward that runs now may itself be differentiated.

    Then it is composed of operations that have derivatives; else one fused operation, which has none, does its work.
    """
    return torch.is_grad_enabled() or forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()


def fold_into_channels(
    function: Any, info: Any, in_dims: tuple[int | None, ...], arguments: tuple[Any, ...]
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """Batching rule for operations with parameters: the mapped dimension becomes a part of the channels.

    A mapped map then meets its own parameters, and statistics are taken over each map alone. Maps have four dimensions unmapped,
    parameters one.
    """
    size = info.batch_size
    folded = []
    for argument, dim in zip(arguments, in_dims, strict=True):
        if not isinstance(argument, Tensor):
            folded.append(argument)
            continue
        mapped = argument.expand(size, *argument.shape) if dim is None else argument.movedim(dim, 0)
        channel = 1 if mapped.dim() == 5 else 0
        folded.append(mapped.movedim(0, channel).flatten(channel, channel + 1))
    results = function.run(*folded)
    channels = tuple(1 if result.dim() == 4 else 0 for result in results)
    return tuple(r.unflatten(c, (size, -1)) for r, c in zip(results, channels, strict=True)), channels


def no_second_derivative(operation: torch._ops.OpOverload, library: torch.library.Library) -> None:
    """Make a derivative of the fused backward an error, where without a registration it would be lost."""

    def refuse(ctx: Any, *_grads: Tensor | None) -> None:
        raise NotImplementedError(
            f"{operation.name()}: expected to be differentiated through the operation it belongs to, with create_graph=True;"
            " called directly, it has no derivative"
        )

    torch.library.register_autograd(operation, refuse, lib=library)

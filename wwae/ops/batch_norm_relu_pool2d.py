"""Batch normalisation, ReLU and max pooling in one pass over the map, after one more for its statistics in training.

``values[n, c, oh, ow] = max_t relu((x[n, c, tap t] - mean[c]) / sqrt(variance[c] + eps) * weight[c] + bias[c])`` with the switches
of :func:`switch_pool2d`; Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
Shift", 2015, arXiv:1502.03167, algorithms 1 and 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops import batch_norm_relu_pool2d_backward as backward_operation
from wwae.ops._batch import as_given, batched
from wwae.ops._library import Differentiable, define, only_first_differentiable
from wwae.ops._pooled import empty_pooled
from wwae.ops._relu import differentiated_again, fold_into_channels, masked_gradient, per_channel, require_parameter
from wwae.ops.switch_gather2d import SwitchGather2d
from wwae.ops.switch_unpool2d import SwitchUnpool2d, in_layout_of
from wwae.ops.switches import Switches, _make
from wwae.reference.window import Pair, accumulation_dtype, offset_dtype, spatial_size

__all__ = ["batch_norm_relu_pool2d"]

NAME = "batch_norm_relu_pool2d"


def _fake(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    eps: float,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    geometry = kernel_size, stride, padding, dilation, ceil_mode
    values, offsets = empty_pooled(NAME, x, *geometry, x.dtype, offset_dtype(kernel_size))
    require_parameter(NAME, "weight", weight, x)
    require_parameter(NAME, "bias", bias, x)
    if mean is not None and variance is not None:
        require_parameter(NAME, "mean", mean, x)
        require_parameter(NAME, "variance", variance, x)
    mean_used, variance_used = (torch.empty(x.shape[1], dtype=accumulation_dtype(x.dtype), device=x.device) for _ in range(2))
    return values, offsets, mean_used, variance_used


class BatchNormReLUPool2d(Differentiable):
    """For the derivatives ``x`` is kept, and of the pooled size the values and offsets.

    Without ``mean`` and ``variance`` those of ``x`` are taken, and the derivatives include their share.
    """

    operation = define(
        f"{NAME}(Tensor x, Tensor weight, Tensor bias, Tensor? mean, Tensor? variance, float eps, SymInt[2] kernel_size,"
        " SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation, bool ceil_mode) -> (Tensor, Tensor, Tensor, Tensor)",
        _fake,
    )
    tensors = 3

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *arguments: Any) -> tuple[Any, Any]:
        return fold_into_channels(BatchNormReLUPool2d, info, in_dims, arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
        x, weight, bias, given_mean, _, ctx.eps, kernel_size, stride, padding, dilation, _ = inputs
        values, offsets, mean, variance = output
        only_first_differentiable(ctx, offsets, mean, variance)
        ctx.save_for_backward(x, weight, values, offsets, mean, variance)
        ctx.save_for_forward(x, weight, values, offsets, mean, variance)
        ctx.geometry = kernel_size, stride, padding, dilation
        ctx.training = given_mean is None
        ctx.dtypes = weight.dtype, bias.dtype

    @staticmethod
    def composed_backward(
        grad: Tensor,
        values: Tensor,
        offsets: Tensor,
        x: Tensor,
        mean: Tensor,
        variance: Tensor,
        weight: Tensor,
        training: bool,
        eps: float,
        *geometry: Pair,
    ) -> tuple[Tensor, Tensor, Tensor]:
        normal, deviation = _normalised(x, mean, variance, training, eps)
        passed = masked_gradient(grad, values).to(normal.dtype)
        at_switches = SwitchGather2d.run(normal, offsets, *geometry, "sum")
        grad_bias = passed.sum((0, 2, 3))
        grad_weight = (passed * at_switches).sum((0, 2, 3))
        full = SwitchUnpool2d.run(in_layout_of(passed, offsets), offsets, *geometry, spatial_size(x), "sum")
        if training:
            count = x.shape[0] * x.shape[2] * x.shape[3]
            full = full - (per_channel(grad_bias) + normal * per_channel(grad_weight)) / count
        return (full * per_channel(weight.to(normal.dtype) / deviation)).to(x.dtype), grad_weight, grad_bias

    @staticmethod
    def backward(ctx: Any, grad_values: Tensor, *_others: Tensor | None) -> tuple:
        x, weight, values, offsets, mean, variance = ctx.saved_tensors
        run = BatchNormReLUPool2d.composed_backward if differentiated_again() else backward_operation.run
        grad = in_layout_of(grad_values, offsets)
        grads = run(grad, values, offsets, x, mean, variance, weight, ctx.training, ctx.eps, *ctx.geometry)
        grad_x, grad_weight, grad_bias = grads
        constants = (None,) * 8  # mean, variance, eps, geometry, ceil_mode
        return grad_x, grad_weight.to(ctx.dtypes[0]), grad_bias.to(ctx.dtypes[1]), *constants

    @staticmethod
    def jvp(
        ctx: Any, tangent: Tensor | None, weight_tangent: Tensor | None, bias_tangent: Tensor | None, *_constants: Any
    ) -> tuple[Tensor, None, None, None]:
        x, weight, values, offsets, mean, variance = ctx.saved_tensors
        normal, deviation = _normalised(x, mean, variance, ctx.training, ctx.eps)
        moved = torch.zeros_like(normal)
        if tangent is not None:
            wide = tangent.to(normal.dtype)
            if ctx.training:
                along = (wide * normal).mean((0, 2, 3))
                wide = wide - per_channel(wide.mean((0, 2, 3))) - normal * per_channel(along)
            moved = moved + wide * per_channel(weight.to(normal.dtype) / deviation)
        if weight_tangent is not None:
            moved = moved + normal * per_channel(weight_tangent.to(normal.dtype))
        pooled = SwitchGather2d.run(moved, offsets, *ctx.geometry, "sum")
        if bias_tangent is not None:
            pooled = pooled + per_channel(bias_tangent.to(normal.dtype))
        return masked_gradient(pooled.to(values.dtype), values), None, None, None


def _normalised(x: Tensor, mean: Tensor, variance: Tensor, training: bool, eps: float) -> tuple[Tensor, Tensor]:
    """``(x - mean) / deviation`` and ``deviation``, composed of ``x`` where that is where they come from, to be differentiated."""
    wide = x.to(accumulation_dtype(x.dtype))
    if training:
        mean = wide.mean((0, 2, 3))
        variance = (wide - per_channel(mean)).square().mean((0, 2, 3))
    deviation = (variance + eps).sqrt()
    return (wide - per_channel(mean)) / per_channel(deviation), deviation


def batch_norm_relu_pool2d(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Switches]:
    """``max_pool2d(relu(batch_norm(x)))`` in one pass over ``x``, with switches (Ioffe and Szegedy 2015, arXiv:1502.03167).

    In training one more pass goes over ``x`` before, for its statistics. The arguments before ``kernel_size`` are those of
    :func:`torch.nn.functional.batch_norm`.

    Args:
        x (Tensor[N, C, H, W] or Tensor[C, H, W], float32 | float64 | bfloat16 | float16): contiguous, channels-last or strided.
        running_mean, running_var (Tensor[C] or None): in evaluation the statistics that normalise ``x``; in training, where given,
            both are moved to ``(1 - momentum) * running + momentum * batch``, with the unbiased variance of the batch. In the dtype
            of ``x``, or float32 for a 16-bit ``x``; so are ``weight`` and ``bias``.
        weight (Tensor[C] or None): None stands for 1.
        bias (Tensor[C] or None): None stands for 0.
        training (bool): normalise by the mean and variance of ``x`` itself.
        momentum (float): weight of this batch in the running statistics.
        eps (float): added to the variance; 0 or more.
        kernel_size, stride, padding, dilation, ceil_mode: as :func:`switch_pool2d`.

    Returns:
        values (Tensor[N, C, OH, OW]): in the dtype and memory format of ``x``. Differentiable in ``x``, ``weight`` and ``bias``,
            any number of times, in reverse and in forward mode.
        switches (Switches): one byte a window up to 256 taps. Not differentiable.

    For a 16-bit ``x`` statistics and normalised values are float32, and rounded before anything is compared. Mean and variance come
    from one pass that keeps its digits where the mean is large; every sum has a fixed order. For ReLU and its gradient see
    :func:`bias_relu_pool2d`. For backward ``x`` is kept, and otherwise only what has the pooled size.

    Raises:
        TypeError: if a tensor is none, a size is no int, or ``training`` is no bool.
        ValueError: in training, for one value a channel; in evaluation, without running statistics; for an eps below 0.
        RuntimeError: for other dtypes, shapes and devices, and for windows that PyTorch's ``max_pool2d`` refuses.

    Example:
        >>> x = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
        >>> values, switches = wwae.ops.batch_norm_relu_pool2d(x, None, None, None, None, True, 0.1, 0.0, (1, 2))
        >>> [round(value, 4) for value in values.flatten().tolist()], switches.offsets.flatten().tolist()
        ([0.0, 1.3416], [0, 1])
    """
    check.require_dtype(NAME, "x", x)
    geometry = check.pool_arguments(NAME, kernel_size, stride, padding, dilation)
    check.require_image(NAME, "x", x)
    _require_statistics(x, running_mean, running_var, check.require_bool(NAME, "training", training))
    for argument, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None:
            require_parameter(NAME, argument, parameter, x)
    for argument, number in (("momentum", momentum), ("eps", eps)):
        if not isinstance(number, (int, float)):
            raise TypeError(f"{NAME}: expected {argument} to be a number, got {number!r}")
    if not 0 <= eps < math.inf:
        raise ValueError(f"{NAME}: expected eps >= 0 and finite, got {eps!r}")
    check.require_windows(NAME, x, *geometry, check.require_bool(NAME, "ceil_mode", ceil_mode))

    parameter_dtype, channels = accumulation_dtype(x.dtype), x.shape[-3]
    if weight is None:
        weight = torch.ones(channels, dtype=parameter_dtype, device=x.device)
    if bias is None:
        bias = torch.zeros(channels, dtype=parameter_dtype, device=x.device)
    statistics = (None, None) if training else (running_mean, running_var)
    values, offsets, mean, variance = BatchNormReLUPool2d.run(
        *batched(x), weight, bias, *statistics, float(eps), *geometry, ceil_mode
    )
    if training and running_mean is not None and running_var is not None:
        _move_statistics(running_mean, running_var, mean, variance, momentum, x)
    values, offsets = as_given(x, values, offsets)
    return values, _make(offsets, *geometry, ceil_mode, spatial_size(x))


def _require_statistics(x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, training: bool) -> None:
    """Refuse running statistics that are missing or do not fit, and a batch that has none of its own."""
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{NAME}: expected running_mean and running_var to be both given or both None, got one of them")
    if running_mean is not None and running_var is not None:
        require_parameter(NAME, "running_mean", running_mean, x)
        require_parameter(NAME, "running_var", running_var, x)
    elif not training:
        raise ValueError(f"{NAME}: expected running_mean and running_var in evaluation, got None")
    batch = x.shape[0] if x.dim() == 4 else 1
    if training and batch * x.shape[-2] * x.shape[-1] == 1:
        raise ValueError(
            f"{NAME}: Expected more than 1 value per channel when training: "
            f"x must have more than one value per channel in training, got shape {tuple(x.shape)}"
        )


@torch.no_grad()
def _move_statistics(running_mean: Tensor, running_var: Tensor, mean: Tensor, variance: Tensor, momentum: float, x: Tensor) -> None:
    """Move the running statistics towards those of the batch, as ``torch.nn.BatchNorm2d``; an empty batch has none."""
    count = (x.shape[0] if x.dim() == 4 else 1) * x.shape[-2] * x.shape[-1]
    if count == 0:
        return
    running_mean.mul_(1 - momentum).add_(mean, alpha=momentum)
    running_var.mul_(1 - momentum).add_(variance * (count / (count - 1)), alpha=momentum)

"""Soft-argmax pooling: the mean of a window's values under a softmax of themselves, and the mean of their positions.

``what = sum of z w`` and ``where = sum of (x, y) w`` over the taps of a window, with ``w = exp(beta z) / sum of exp(beta z)``:
equations 3 and 4 of Zhao, Mathieu, Goroshin and LeCun, "Stacked What-Where Auto-encoders", 2015, arXiv:1506.02351.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops._batch import as_given, batched
from wwae.ops._layout import in_layout_of
from wwae.ops._library import Differentiable, define
from wwae.ops.soft_argmax_pool2d_backward import SoftArgmaxPool2dBackward
from wwae.reference.soft_argmax_pool2d import soft_argmax_pool2d_tangent
from wwae.reference.taps import empty_pairs
from wwae.reference.window import Pair, accumulation_dtype, memory_format

__all__ = ["soft_argmax_pool2d"]

NAME = "soft_argmax_pool2d"


def _fake(x: Tensor, beta: Tensor, kernel_size: Pair, stride: Pair, padding: Pair) -> tuple[Tensor, Tensor]:
    check.require_dtype(NAME, "x", x)
    check.require_image(NAME, "x", x)
    check.require_geometry(NAME, kernel_size, stride, padding, (1, 1))
    windows = check.require_windows(NAME, x, kernel_size, stride, padding, (1, 1), False)
    check.require_plane_values(NAME, "beta", beta, x)
    layout = memory_format(x)
    what = torch.empty((*x.shape[:2], *windows), dtype=x.dtype, device=x.device, memory_format=layout)
    return what, empty_pairs(x, windows, beta.dtype, layout)


class SoftArgmaxPool2d(Differentiable):
    """``beta`` is ``(N, C)``, a value for every plane, so that planes stay independent; backward keeps it and ``x``."""

    operation = define(
        f"{NAME}(Tensor x, Tensor beta, SymInt[2] kernel_size, SymInt[2] stride, SymInt[2] padding) -> (Tensor, Tensor)", _fake
    )
    tensors = 2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        x, beta, *geometry = inputs
        ctx.save_for_backward(x, beta)
        ctx.save_for_forward(x, beta)
        ctx.geometry = tuple(geometry)

    @staticmethod
    def backward(ctx: Any, grad_what: Tensor, grad_where: Tensor) -> tuple:
        x, beta = ctx.saved_tensors
        gradients = SoftArgmaxPool2dBackward.run(x, beta, grad_what, grad_where, *ctx.geometry, ctx.needs_input_grad[1])
        return *gradients, None, None, None  # geometry

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, ...]:
        tensors = ctx.saved_tensors
        directions = [torch.zeros_like(t) if d is None else d for t, d in zip(tensors, tangents[:2], strict=True)]
        return in_layout_of(tensors[0], *soft_argmax_pool2d_tangent(*tensors, *directions, *ctx.geometry))


def soft_argmax_pool2d(
    x: Tensor,
    kernel_size: int | Sequence[int],
    beta: float | Tensor,
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
) -> tuple[Tensor, Tensor]:
    """Differentiable pooling into a value and a position (Zhao et al. 2015, arXiv:1506.02351, equations 3 and 4).

    Args:
        x (Tensor[N, C, H, W] or Tensor[C, H, W], float32 | float64 | bfloat16 | float16): contiguous, channels-last or strided.
        kernel_size (int or pair): height and width of the window, in elements.
        beta (float, Tensor[] or Tensor[C]): sharpness, one for all channels or one for each, at least 0 and finite. 0 takes the
            mean of a window; a large one its maximum, and the position of that. A tensor may be learned.
        stride (int or pair): distance of neighbouring windows. Default: ``kernel_size``.
        padding (int or pair): elements added on each side, of weight 0; at most half the window. Default: 0.

    Returns:
        what (Tensor[N, C, OH, OW]): in the dtype and memory format of ``x``.
        where (Tensor[N, C, OH, OW, 2]): ``(x, y)``, column and row in [-1, 1] from the first tap of the window to its last; 0 along
            an axis of one tap. float64 for float64, else float32. Each pair is side by side in memory, in every memory format.

    Both are differentiable in ``x`` and ``beta``, any number of times, in reverse and in forward mode. The maximum of a window is
    subtracted before any power is taken, and 16-bit input is computed in float32, so ``beta`` from 0 to 1000 and values to ±1e4 are
    safe in every dtype. A NaN makes ``what`` and ``where`` of its window NaN. A tap infinitely far below the maximum of its window
    has weight 0, at ``beta = 0`` too: so +inf taps share all the weight, -inf counts only in a window of nothing else, and
    ``where`` is then the mean of their positions. Gradients stay finite there. For backward ``x`` and ``beta`` are kept.
    Deterministic.

    Raises:
        TypeError: if ``x`` is no tensor, ``beta`` no number or floating-point tensor, or a size no int.
        ValueError: if ``beta`` is negative or not finite, or has neither one value nor one for each channel. The values of a
            tensor are looked at on the CPU, outside of compiled code and ``torch.func``; elsewhere a bad one makes its channel NaN.
        RuntimeError: for other dtypes, shapes and devices, and for windows that PyTorch's ``max_pool2d`` refuses.

    Example:
        >>> what, where = wwae.ops.soft_argmax_pool2d(torch.tensor([[[[1.0, 5.0], [3.0, 2.0]]]]), 2, beta=100.0)
        >>> what.item(), where.tolist()
        (5.0, [[[[[1.0, -1.0]]]]])
    """
    check.require_dtype(NAME, "x", x)
    kernel, steps, pads, gaps = check.pool_arguments(NAME, kernel_size, stride, padding, 1)
    check.require_image(NAME, "x", x)
    check.require_windows(NAME, x, kernel, steps, pads, gaps, False)
    (image,) = batched(x)
    what, where = as_given(x, *SoftArgmaxPool2d.run(image, _sharpness(image, beta), kernel, steps, pads))
    return what, where


def _sharpness(x: Tensor, beta: float | Tensor) -> Tensor:
    """``beta`` as a value for every plane of ``x``, ``(N, C)``, in the type of the sums."""
    dtype = accumulation_dtype(x.dtype)
    if not isinstance(beta, Tensor):
        if isinstance(beta, bool) or not isinstance(beta, (int, float, torch.SymFloat, torch.SymInt)):
            raise TypeError(f"{NAME}: expected beta to be a float or a tensor, got {type(beta).__name__}")
        if not 0 <= beta < math.inf:
            raise ValueError(f"{NAME}: expected beta >= 0 and finite, got {beta}")
        return torch.full((), beta, dtype=dtype, device=x.device).expand(x.shape[:2])
    if not beta.is_floating_point():
        raise TypeError(f"{NAME}: expected beta to be a floating-point tensor, got dtype {beta.dtype}")
    if beta.dim() > 1 or (beta.dim() == 1 and beta.shape[0] not in (1, x.shape[1])):
        raise ValueError(
            f"{NAME}: expected beta to be a scalar or to have one value for each of {x.shape[1]} channels, "
            f"got shape {tuple(beta.shape)}"
        )
    check.require_same_device(NAME, "beta", beta, x)
    if beta.device.type == "cpu" and check.has_values(beta):  # a GPU would be waited for
        allowed = (beta >= 0) & (beta < math.inf)
        if not allowed.all():
            raise ValueError(f"{NAME}: expected beta >= 0 and finite, got {beta[~allowed].flatten()[0].item()}")
    return beta.to(dtype).expand(x.shape[:2])

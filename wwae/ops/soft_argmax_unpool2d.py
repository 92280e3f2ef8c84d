"""Interpolating unpooling: a value is split over the four taps around its continuous position.

``y[tap (i, j) of window k] += what_k max(0, 1 - |v_k - i|) max(0, 1 - |u_k - j|)``, with the position in taps
``(u, v) = (where + 1) (kernel_size - 1) / 2``: the interpolation with which Zhao, Mathieu, Goroshin and LeCun, "Stacked What-Where
Auto-encoders", 2015, arXiv:1506.02351, section 3.1, unpool a continuous "where".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops._layout import in_layout_of
from wwae.ops._library import Differentiable, define
from wwae.ops.soft_argmax_unpool2d_backward import SoftArgmaxUnpool2dBackward
from wwae.reference.soft_argmax_unpool2d import soft_argmax_unpool2d_tangent
from wwae.reference.window import Pair, memory_format

__all__ = ["soft_argmax_unpool2d"]

NAME = "soft_argmax_unpool2d"


def _fake(what: Tensor, where: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, output_size: Pair) -> Tensor:
    check.require_dtype(NAME, "what", what)
    check.require_geometry(NAME, kernel_size, stride, padding, (1, 1))
    check.require_positions(NAME, where, what)
    return torch.empty((*what.shape[:2], *output_size), dtype=what.dtype, device=what.device, memory_format=memory_format(what))


class SoftArgmaxUnpool2d(Differentiable):
    """Linear in ``what``, linear in ``where`` between neighbouring taps."""

    operation = define(
        f"{NAME}(Tensor what, Tensor where, SymInt[2] kernel_size, SymInt[2] stride, SymInt[2] padding, SymInt[2] output_size)"
        " -> Tensor",
        _fake,
    )
    tensors = 2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        what, where, *geometry, ctx.output_size = inputs
        ctx.save_for_backward(what, where)
        ctx.save_for_forward(what, where)
        ctx.geometry = tuple(geometry)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        gradients = SoftArgmaxUnpool2dBackward.run(*ctx.saved_tensors, grad, *ctx.geometry)
        return *gradients, None, None, None, None  # geometry, output_size

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        tensors = ctx.saved_tensors
        directions = [torch.zeros_like(t) if d is None else d for t, d in zip(tensors, tangents[:2], strict=True)]
        geometry = *ctx.geometry, ctx.output_size
        full = soft_argmax_unpool2d_tangent(*tensors, *directions, *geometry)
        return in_layout_of(tensors[0], full)[0]


def soft_argmax_unpool2d(
    what: Tensor,
    where: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: int | Sequence[int] | None = None,
) -> Tensor:
    """Split each value over the four taps around its position, 0 elsewhere (Zhao et al. 2015, arXiv:1506.02351, section 3.1).

    Args:
        what (Tensor[N, C, OH, OW] or Tensor[C, OH, OW], float32 | float64 | bfloat16 | float16): pooled values.
        where (Tensor[N, C, OH, OW, 2] or Tensor[C, OH, OW, 2]): ``(x, y)`` as of ``soft_argmax_pool2d``: column and row, from -1 at
            the first tap of the window to 1 at its last; beyond that it counts as the nearer end. float64 for float64, else
            float32.
        kernel_size (int or pair): height and width of the window, in elements.
        stride (int or pair): distance of neighbouring windows. Default: ``kernel_size``.
        padding (int or pair): of the pooling; a tap in the padding is dropped. Default: 0.
        output_size (int or pair): ``(H, W)``, less than one stride away from the default
            ``(OH - 1) * stride + kernel_size - 2 * padding``, as in ``max_unpool2d``.

    Returns:
        Tensor[N, C, H, W] in the dtype and memory format of ``what``. Overlapping windows add, in a fixed order, in float32 for
        16-bit types. Differentiable in ``what`` and ``where``, any number of times, in reverse and in forward mode; the gradient in
        ``where`` is the difference of neighbouring taps, 0 strictly outside [-1, 1] and along an axis of one tap.

    A tap of weight 0 gets nothing, also of an infinite value. A NaN position lies between the first two taps of its axis and makes
    them NaN; along an axis of one tap it changes nothing. Deterministic. For backward ``what`` and ``where`` are kept.

    Raises:
        TypeError: if ``what`` or ``where`` is no tensor, or a size no int.
        ValueError: for an output size too far from the default.
        RuntimeError: if ``what`` and ``where`` differ in shape, dtype or device, or for another dtype or shape of ``what``.

    Example:
        >>> wwae.ops.soft_argmax_unpool2d(torch.tensor([[[[4.0]]]]), torch.tensor([[[[[0.5, -1.0]]]]]), 2).tolist()
        [[[[1.0, 3.0], [0.0, 0.0]]]]
    """
    check.require_dtype(NAME, "what", what)
    check.require_image(NAME, "what", what)
    if not isinstance(where, Tensor):
        raise TypeError(f"{NAME}: expected where to be a tensor, got {type(where).__name__}")
    check.require_positions(NAME, where, what)
    kernel, steps, pads, _ = check.pool_arguments(NAME, kernel_size, stride, padding, 1)
    size = check.unpooled_size(NAME, what, kernel, steps, pads, output_size)
    if what.dim() == 3:
        return SoftArgmaxUnpool2d.run(what.unsqueeze(0), where.unsqueeze(0), kernel, steps, pads, size).squeeze(0)
    return SoftArgmaxUnpool2d.run(what, where, kernel, steps, pads, size)

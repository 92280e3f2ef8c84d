"""Unpooling without switches: every value goes to the same tap of its window, 0 elsewhere.

The "fixed" unpooling that Zhang, Lee and Lee, "Augmenting Supervised Neural Networks with Unsupervised Objectives for
Large-scale Image Classification", 2016, arXiv:1606.06582, compare with known switches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops._batch import as_given, batched
from wwae.ops._library import Differentiable, define
from wwae.reference.window import Pair, memory_format, spatial_size

__all__ = ["fixed_unpool2d"]

NAME = "fixed_unpool2d"


def _fake(x: Tensor, stride: Pair, position: Pair, output_size: Pair) -> Tensor:
    check.require_dtype(NAME, "x", x)
    return torch.empty((*x.shape[:2], *output_size), dtype=x.dtype, device=x.device, memory_format=memory_format(x))


def _read_taps(full: Tensor, stride: Pair, position: Pair, windows: Pair) -> Tensor:
    """The transpose: the map at the fixed tap of each window, 0 for a tap outside the map."""
    taps = full[..., position[0] :: stride[0], position[1] :: stride[1]][..., : windows[0], : windows[1]]
    missing = (0, windows[1] - taps.shape[-1], 0, windows[0] - taps.shape[-2])
    return torch.nn.functional.pad(taps, missing) if any(missing) else taps.clone(memory_format=memory_format(full))


class FixedUnpool2d(Differentiable):
    """Linear in ``x``; the transpose is a strided slice, which PyTorch differentiates."""

    operation = define(f"{NAME}(Tensor x, SymInt[2] stride, SymInt[2] position, SymInt[2] output_size) -> Tensor", _fake)
    tensors = 1

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, ctx.stride, ctx.position, ctx.output_size = inputs
        ctx.windows = spatial_size(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return (
            _read_taps(grad, ctx.stride, ctx.position, ctx.windows),
            None,
            None,
            None,
        )  # stride, position, output_size

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_constants: Any) -> Tensor:
        return FixedUnpool2d.run(tangent, ctx.stride, ctx.position, ctx.output_size)


def fixed_unpool2d(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    output_size: int | Sequence[int] | None = None,
    position: int | Sequence[int] | None = None,
) -> Tensor:
    """Put each value at one fixed tap of its window, 0 elsewhere (Zhang et al. 2016, arXiv:1606.06582).

    Args:
        x (Tensor[N, C, OH, OW] or Tensor[C, OH, OW], float32 | float64 | bfloat16 | float16): pooled values.
        kernel_size (int or pair): height and width of the window, in elements.
        stride (int or pair): distance of neighbouring windows. Default: ``kernel_size``.
        output_size (int or pair): ``(H, W)``, less than one stride away from the default
            ``(OH - 1) * stride + kernel_size``; a tap that falls outside writes nothing.
        position (int or pair): row and column of the tap in its window. Default: ``kernel_size // 2``.

    Returns:
        Tensor[N, C, H, W] in the dtype and memory format of ``x``. Differentiable any number of times, in reverse and forward mode.

    Raises:
        TypeError: if ``x`` is no tensor or a size is no int.
        ValueError: for a position outside the window, or an output size too far from the default.
        RuntimeError: for another dtype or shape of ``x``, or a window that does not exist.

    Example:
        >>> wwae.ops.fixed_unpool2d(torch.tensor([[[[5.0]]]]), 2).tolist()
        [[[[0.0, 0.0], [0.0, 5.0]]]]
    """
    check.require_dtype(NAME, "x", x)
    check.require_image(NAME, "x", x)
    kernel, steps, _, _ = check.pool_arguments(NAME, kernel_size, stride, 0, 1)
    tap = (kernel[0] // 2, kernel[1] // 2) if position is None else check.pair(NAME, "position", position)
    if not all(0 <= t < k for t, k in zip(tap, kernel, strict=True)):
        raise ValueError(f"{NAME}: expected position inside the window of kernel_size={kernel}, got {tap}")
    size = check.unpooled_size(NAME, x, kernel, steps, (0, 0), output_size)
    return as_given(x, FixedUnpool2d.run(*batched(x), steps, tap, size))[0]

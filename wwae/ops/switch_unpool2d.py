"""Unpooling with switches: ``y[n, c, switch of (oh, ow)] = x[n, c, oh, ow]``, 0 elsewhere.

Zeiler, Taylor and Fergus, "Adaptive deconvolutional networks for mid and high level feature learning", 2011; in the decoder of
Zhao et al. 2015, arXiv:1506.02351, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops import switch_gather2d as gather
from wwae.ops._batch import as_given, batched
from wwae.ops._library import Differentiable, define
from wwae.ops.switches import Switches
from wwae.reference.window import Pair, memory_format

__all__ = ["switch_unpool2d"]

NAME = "switch_unpool2d"


def in_layout_of(grad: Tensor, offsets: Tensor) -> Tensor:
    """``grad`` in the memory format of the offsets, so that a gradient keeps the layout of the map that was pooled.

    Inside ``torch.func`` transforms tensors can't be asked for their layout, and keep the one they have.
    """
    if torch._C._functorch.is_functorch_wrapped_tensor(grad) or torch._C._functorch.is_legacy_batchedtensor(grad):
        return grad
    return grad.contiguous(memory_format=memory_format(offsets))


def _fake(
    x: Tensor,
    offsets: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    output_size: Pair,
    overlap: str,
) -> Tensor:
    check.require_dtype(NAME, "x", x)
    check.require_geometry(NAME, kernel_size, stride, padding, dilation)
    check.require_offsets(NAME, offsets, kernel_size)
    check.require_overlap(NAME, overlap)
    return torch.empty((*x.shape[:2], *output_size), dtype=x.dtype, device=x.device, memory_format=memory_format(x))


class SwitchUnpool2d(Differentiable):
    """Linear in ``x``; the transpose is the gather with the same overlap."""

    operation = define(
        f"{NAME}(Tensor x, Tensor offsets, SymInt[2] kernel_size, SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation,"
        " SymInt[2] output_size, str overlap) -> Tensor",
        _fake,
    )
    tensors = 2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, offsets, kernel_size, stride, padding, dilation, ctx.output_size, ctx.overlap = inputs
        ctx.save_for_backward(offsets)
        ctx.save_for_forward(offsets)
        ctx.geometry = kernel_size, stride, padding, dilation

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (offsets,) = ctx.saved_tensors
        values = gather.SwitchGather2d.run(in_layout_of(grad, offsets), offsets, *ctx.geometry, ctx.overlap)
        return values, None, None, None, None, None, None, None  # offsets, geometry, output_size, overlap

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_constants: Any) -> Tensor:
        (offsets,) = ctx.saved_tensors
        return SwitchUnpool2d.run(tangent, offsets, *ctx.geometry, ctx.output_size, ctx.overlap)


def switch_unpool2d(x: Tensor, switches: Switches, output_size: int | Sequence[int] | None = None, overlap: str = "last") -> Tensor:
    """Put each value back where its maximum stood, 0 elsewhere (Zhao et al. 2015, arXiv:1506.02351, section 3, figure 1a).

    Args:
        x (Tensor[N, C, OH, OW] or Tensor[C, OH, OW], float32 | float64 | bfloat16 | float16): pooled values, or any of that shape.
        switches (Switches): of the pooling, on the device of ``x``.
        output_size (int or pair): only a check: must be ``switches.input_size``. Default: None, no check.
        overlap (str): what windows do that point at the same element: ``"last"`` keeps the last in raster order, ``"sum"`` adds
            them, ``"mean"`` divides the sum by their number. Sums of 16-bit types are float32. Default: ``"last"``.

    Returns:
        Tensor[N, C, H, W] of ``switches.input_size``, in the dtype and memory format of ``x``. Differentiable in ``x``, any number
        of times, in reverse and in forward mode; with ``"last"`` the gradient goes to the winning window alone.

    Deterministic, bit for bit, in every backend. A switch that names no real tap (damaged data) writes nothing.

    Raises:
        TypeError: if ``x`` is no tensor or ``switches`` no ``Switches``.
        ValueError: if ``output_size`` is not the size that was pooled, or for an unknown ``overlap``.
        RuntimeError: if ``x`` and the switches differ in shape or device, or for another dtype.

    Example:
        >>> values, switches = wwae.ops.switch_pool2d(torch.tensor([[[[1.0, 5.0], [3.0, 2.0]]]]), 2)
        >>> wwae.ops.switch_unpool2d(values, switches).tolist()
        [[[[0.0, 5.0], [0.0, 0.0]]]]
    """
    check.require_dtype(NAME, "x", x)
    require_switches(NAME, x, switches)
    check.require_overlap(NAME, overlap)
    if output_size is not None:
        require_output_size(output_size, switches.input_size)
    geometry = switches.kernel_size, switches.stride, switches.padding, switches.dilation
    return as_given(x, SwitchUnpool2d.run(*batched(x, switches.offsets), *geometry, switches.input_size, overlap))[0]


def require_switches(operation: str, x: Tensor, switches: Switches) -> None:
    """Refuse what is no ``Switches``, and those of another shape or device than ``x``."""
    if not isinstance(switches, Switches):
        raise TypeError(
            f"{operation}: expected switches to be the Switches of a pooling, got {type(switches).__name__}"
            " (Switches.from_indices makes them from PyTorch's int64 indices)"
        )
    if tuple(x.shape) != tuple(switches.shape):
        raise RuntimeError(f"{operation}: switches were recorded for {tuple(switches.shape)} but x has shape {tuple(x.shape)}")
    check.require_same_device(operation, "switches", switches.offsets, x)


def require_output_size(output_size: int | Sequence[int], input_size: Pair) -> None:
    """Refuse an output size other than the size that was pooled; as in PyTorch it may carry batch and channels in front."""
    spatial = output_size[-2:] if isinstance(output_size, (tuple, list, torch.Size)) else output_size
    if check.pair(NAME, "output_size", spatial) != tuple(input_size):
        raise ValueError(
            f"{NAME}: expected output_size {tuple(input_size)}, the size of the map that was pooled, got {output_size}"
        )

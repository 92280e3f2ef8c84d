"""Max pooling that records where each maximum stood.

``values[n, c, oh, ow] = max_t x[n, c, tap t of window (oh, ow)]``, and the switch is the offset of that tap: the "what" and the
"where" of Zhao, Mathieu, Goroshin and LeCun, "Stacked What-Where Auto-encoders", 2015, arXiv:1506.02351, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops._batch import as_given, batched
from wwae.ops._library import Differentiable, define, only_first_differentiable
from wwae.ops._pooled import empty_pooled
from wwae.ops.switch_gather2d import SwitchGather2d
from wwae.ops.switch_unpool2d import SwitchUnpool2d, in_layout_of
from wwae.ops.switches import Switches, _make
from wwae.reference.window import Pair, offset_dtype, spatial_size

__all__ = ["switch_pool2d"]

NAME = "switch_pool2d"


def _fake(x: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> tuple[Tensor, Tensor]:
    geometry = kernel_size, stride, padding, dilation, ceil_mode
    values, offsets = empty_pooled(NAME, x, *geometry, x.dtype, offset_dtype(kernel_size))
    return values, offsets


class SwitchPool2d(Differentiable):
    """Pooling reads the map at its switches, so its derivative is the gather, and the transpose of that the unpooling."""

    operation = define(
        f"{NAME}(Tensor x, SymInt[2] kernel_size, SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation, bool ceil_mode)"
        " -> (Tensor, Tensor)",
        _fake,
    )
    tensors = 1

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        x, kernel_size, stride, padding, dilation, _ = inputs
        _, offsets = output
        only_first_differentiable(ctx, offsets)
        ctx.save_for_backward(offsets)
        ctx.save_for_forward(offsets)
        ctx.geometry = kernel_size, stride, padding, dilation
        ctx.input_size = spatial_size(x)

    @staticmethod
    def backward(ctx: Any, grad_values: Tensor, _grad_offsets: Tensor | None) -> tuple:
        (offsets,) = ctx.saved_tensors
        grad = SwitchUnpool2d.run(in_layout_of(grad_values, offsets), offsets, *ctx.geometry, ctx.input_size, "sum")
        return grad, None, None, None, None, None  # kernel_size, stride, padding, dilation, ceil_mode

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_constants: Any) -> tuple[Tensor, None]:
        (offsets,) = ctx.saved_tensors
        return SwitchGather2d.run(tangent, offsets, *ctx.geometry, "sum"), None


def switch_pool2d(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Switches]:
    """Max pooling that records where each maximum stood (Zhao et al. 2015, arXiv:1506.02351, section 3).

    Args:
        x (Tensor[N, C, H, W] or Tensor[C, H, W], float32 | float64 | bfloat16 | float16): contiguous, channels-last or strided.
        kernel_size (int or pair): height and width of the window, in elements.
        stride (int or pair): distance of neighbouring windows. Default: ``kernel_size``.
        padding (int or pair): elements added on each side, never chosen; at most half the extent of the window. Default: 0.
        dilation (int or pair): distance of neighbouring taps. Default: 1.
        ceil_mode (bool): also pool a last window that hangs over the edge. Default: False.

    Returns:
        values (Tensor[N, C, OH, OW]): in the dtype and memory format of ``x``. Differentiable, any number of times, in reverse and
            in forward mode.
        switches (Switches): one byte a window up to 256 taps. Not differentiable.

    The first tap in raster order wins a tie; a NaN beats every number, the last NaN wins; a window of all ``-inf`` picks its first
    tap inside the map; a window with no such tap has value ``-inf`` and gradient 0. Deterministic, bit for bit, in every backend.
    For backward only the offsets are kept.

    Raises:
        TypeError: if ``x`` is no tensor or a size is no int.
        RuntimeError: for other dtypes and shapes, and for windows that PyTorch's ``max_pool2d`` refuses.

    Example:
        >>> x = torch.tensor([[[[1.0, 5.0], [3.0, 2.0]]]])
        >>> values, switches = wwae.ops.switch_pool2d(x, 2)
        >>> values.item(), switches.offsets.item()
        (5.0, 1)
    """
    check.require_dtype(NAME, "x", x)
    geometry = check.pool_arguments(NAME, kernel_size, stride, padding, dilation)
    check.require_image(NAME, "x", x)
    check.require_windows(NAME, x, *geometry, check.require_bool(NAME, "ceil_mode", ceil_mode))
    values, offsets = as_given(x, *SwitchPool2d.run(*batched(x), *geometry, ceil_mode))
    return values, _make(offsets, *geometry, ceil_mode, spatial_size(x))

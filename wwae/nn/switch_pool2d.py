"""Max pooling that returns values and switches."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.ops import Switches, switch_pool2d

__all__ = ["SwitchPool2d"]

torch.fx.wrap("switch_pool2d")


class SwitchPool2d(torch.nn.MaxPool2d):
    """Max pooling that records where each maximum stood (Zhao et al. 2015, arXiv:1506.02351, section 3).

    It is a ``MaxPool2d`` whose indices are :class:`wwae.ops.Switches`: one byte a window that knows its geometry, where PyTorch's
    indices take eight and leave the size of the map to the caller.

    Args:
        kernel_size (int or pair): height and width of the window, in elements.
        stride (int or pair): distance of neighbouring windows. Default: ``kernel_size``.
        padding (int or pair): elements added on each side, never chosen; at most half the extent of the window. Default: 0.
        dilation (int or pair): distance of neighbouring taps. Default: 1.
        ceil_mode (bool): also pool a last window that hangs over the edge. Default: False.

    Shape:
        - Input (Tensor[N, C, H, W] or Tensor[C, H, W]): float32, float64, bfloat16 or float16.
        - Output (Tensor[N, C, OH, OW], Switches): values in the dtype and memory format of the input, and their switches.

    Raises:
        TypeError, RuntimeError: in ``forward``, as :func:`wwae.ops.switch_pool2d`.

    Example:
        >>> values, switches = wwae.nn.SwitchPool2d(2)(torch.tensor([[[[1.0, 5.0], [3.0, 2.0]]]]))
        >>> values.item(), switches.offsets.item()
        (5.0, 1)
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, dilation, return_indices=True, ceil_mode=ceil_mode)

    def forward(self, input: Tensor) -> tuple[Tensor, Switches]:
        return switch_pool2d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

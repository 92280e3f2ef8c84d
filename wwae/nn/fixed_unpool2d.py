"""Unpooling without switches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wwae.ops.fixed_unpool2d import fixed_unpool2d

__all__ = ["FixedUnpool2d"]

torch.fx.wrap("fixed_unpool2d")


class FixedUnpool2d(torch.nn.Module):
    """Put each value at one fixed tap of its window, 0 elsewhere (Zhang et al. 2016, arXiv:1606.06582).

    Args:
        kernel_size (int or pair): height and width of the window, in elements.
        stride (int or pair): distance of neighbouring windows. Default: ``kernel_size``.
        position (int or pair): row and column of the tap in its window. Default: ``kernel_size // 2``.

    Shape:
        - Input (Tensor[N, C, OH, OW] or Tensor[C, OH, OW]): float32, float64, bfloat16 or float16.
        - Output size (int or pair, optional): ``(H, W)``, less than one stride away from the default
          ``(OH - 1) * stride + kernel_size``; a tap that falls outside writes nothing.
        - Output (Tensor[N, C, H, W]): in the dtype and memory format of the input.

    Raises:
        TypeError, ValueError, RuntimeError: in ``forward``, as :func:`wwae.ops.fixed_unpool2d`.

    Example:
        >>> wwae.nn.FixedUnpool2d(2)(torch.tensor([[[[5.0]]]])).tolist()
        [[[[0.0, 0.0], [0.0, 5.0]]]]
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        position: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.position = position

    def forward(self, input: Tensor, output_size: int | Sequence[int] | None = None) -> Tensor:
        return fixed_unpool2d(input, self.kernel_size, self.stride, output_size, self.position)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, position={self.position}"

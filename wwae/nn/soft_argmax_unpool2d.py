"""Interpolating unpooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wwae.ops.soft_argmax_unpool2d import soft_argmax_unpool2d

__all__ = ["SoftArgmaxUnpool2d"]

torch.fx.wrap("soft_argmax_unpool2d")


class SoftArgmaxUnpool2d(torch.nn.Module):
    """Split each value over the four taps around its position, 0 elsewhere (Zhao et al. 2015, arXiv:1506.02351, section 3.1).

    Args:
        kernel_size (int or pair): height and width of the window, in elements.
        stride (int or pair): distance of neighbouring windows. Default: ``kernel_size``.
        padding (int or pair): of the pooling; a tap in the padding is dropped. Default: 0.

    Shape:
        - What (Tensor[N, C, OH, OW] or Tensor[C, OH, OW]): float32, float64, bfloat16 or float16.
        - Where (Tensor[N, C, OH, OW, 2] or Tensor[C, OH, OW, 2]): positions (x, y) of a ``SoftArgmaxPool2d``.
        - Output size (int or pair, optional): ``(H, W)``, less than one stride away from the default
          ``(OH - 1) * stride + kernel_size - 2 * padding``.
        - Output (Tensor[N, C, H, W]): in the dtype and memory format of what.

    Raises:
        TypeError, ValueError, RuntimeError: in ``forward``, as :func:`wwae.ops.soft_argmax_unpool2d`.

    Example:
        >>> wwae.nn.SoftArgmaxUnpool2d(2)(torch.tensor([[[[4.0]]]]), torch.tensor([[[[[0.5, -1.0]]]]])).tolist()
        [[[[1.0, 3.0], [0.0, 0.0]]]]
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding

    def forward(self, what: Tensor, where: Tensor, output_size: int | Sequence[int] | None = None) -> Tensor:
        return soft_argmax_unpool2d(what, where, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"

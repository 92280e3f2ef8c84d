"""Unpooling and convolution in one module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.utils import _pair

from wwae.ops import Switches, unpool_conv2d

__all__ = ["UnpoolConv2d"]

torch.fx.wrap("unpool_conv2d")


class UnpoolConv2d(torch.nn.modules.conv._ConvNd):
    """Unpooling with switches and ``Conv2d``, with ReLU where wanted, in one (Zhang et al. 2016, arXiv:1606.06582, figure 1).

    Parameters, their names and initial values are those of ``torch.nn.Conv2d``, so a state dict of that layer loads here, and one
    of this loads there.

    Args:
        in_channels, out_channels (int): channels of the pooled input and of the output.
        kernel_size (int or pair): of the convolution, which has stride 1.
        padding (int or pair): zeros added on each side of the unpooled map. Default: 0.
        bias (bool): learn a bias. Default: True.
        activation (str or None): ``"relu"``, or None for the sums as they are. Default: None.
        device, dtype: of the parameters.

    Shape:
        - Input (Tensor[N, I, OH, OW] or Tensor[I, OH, OW]): float32, float64, bfloat16 or float16.
        - Switches (Switches): of a pooling whose values have the shape of the input.
        - Output (Tensor[N, O, H, W]): in the dtype and memory format of the input.

    Raises:
        ValueError: for an unknown ``activation``.
        TypeError, RuntimeError: in ``forward``, as :func:`wwae.ops.unpool_conv2d`.

    Example:
        >>> values, switches = wwae.nn.SwitchPool2d(2)(torch.randn(1, 64, 32, 32))
        >>> wwae.nn.UnpoolConv2d(64, 3, kernel_size=3, padding=1)(values, switches).shape
        torch.Size([1, 3, 32, 32])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        padding: int | tuple[int, int] = 0,
        bias: bool = True,
        activation: str | None = None,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if activation not in (None, "relu"):
            raise ValueError(f"UnpoolConv2d: expected activation to be None or 'relu', got {activation!r}")
        geometry = (_pair(kernel_size), _pair(1), _pair(padding), _pair(1), False, _pair(0), 1)
        super().__init__(in_channels, out_channels, *geometry, bias, "zeros", device, dtype)
        self.padding: tuple[int, int] = _pair(padding)  # a number, never the words that Conv2d takes
        self.activation = activation

    def forward(self, input: Tensor, switches: Switches) -> Tensor:
        return unpool_conv2d(input, switches, self.weight, self.bias, self.padding, self.activation)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, activation={self.activation!r}"

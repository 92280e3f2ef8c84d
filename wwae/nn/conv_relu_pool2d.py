"""Convolution, ReLU and max pooling in one module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.utils import _pair

from wwae.ops import Switches, conv_relu_pool2d

__all__ = ["ConvReLUPool2d"]

torch.fx.wrap("conv_relu_pool2d")


class ConvReLUPool2d(torch.nn.modules.conv._ConvNd):
    """``Conv2d``, ``ReLU`` and ``MaxPool2d`` in one, with switches (Simonyan and Zisserman 2015, arXiv:1409.1556).

    Parameters, their names and initial values are those of ``torch.nn.Conv2d``, so a state dict of that layer loads here, and one
    of this loads there. It is no subclass of it: what looks for ``Conv2d`` expects a map, and finds values and switches here.

    Args:
        in_channels, out_channels (int): channels of the input and of the output.
        kernel_size (int or pair): of the convolution; so are ``stride``, ``padding``, ``dilation``, ``groups`` and ``bias``, with
            the meaning and defaults of ``torch.nn.Conv2d``. Padding is a number of zeros.
        pool_kernel_size (int or pair): height and width of a pooling window, in elements. Default: 2.
        pool_stride (int or pair): distance of neighbouring windows. Default: ``pool_kernel_size``.
        pool_padding (int or pair): elements added on each side, never chosen; at most half the extent of the window. Default: 0.
        pool_dilation (int or pair): distance of neighbouring taps of a window. Default: 1.
        ceil_mode (bool): also pool a last window that hangs over the edge. Default: False.
        device, dtype: of the parameters.

    Shape:
        - Input (Tensor[N, I, H, W] or Tensor[I, H, W]): float32, float64, bfloat16 or float16.
        - Output (Tensor[N, O, OH, OW], Switches): values in the dtype and memory format of the input, and their switches.

    Raises:
        ValueError: for channels that ``groups`` does not divide.
        TypeError, RuntimeError: in ``forward``, as :func:`wwae.ops.conv_relu_pool2d`.

    Example:
        >>> layer = wwae.nn.ConvReLUPool2d(3, 64, kernel_size=3, padding=1)
        >>> values, switches = layer(torch.randn(1, 3, 32, 32))
        >>> values.shape, switches.nbytes
        (torch.Size([1, 64, 16, 16]), 16384)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        pool_kernel_size: int | tuple[int, int] = 2,
        pool_stride: int | tuple[int, int] | None = None,
        pool_padding: int | tuple[int, int] = 0,
        pool_dilation: int | tuple[int, int] = 1,
        ceil_mode: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        geometry = (_pair(kernel_size), _pair(stride), _pair(padding), _pair(dilation), False, _pair(0), groups)
        super().__init__(in_channels, out_channels, *geometry, bias, "zeros", device, dtype)
        self.padding: tuple[int, int] = _pair(padding)  # a number, never the words that Conv2d takes
        self.pool_kernel_size = pool_kernel_size
        self.pool_stride = pool_stride if pool_stride is not None else pool_kernel_size
        self.pool_padding = pool_padding
        self.pool_dilation = pool_dilation
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> tuple[Tensor, Switches]:
        return conv_relu_pool2d(
            input,
            self.weight,
            self.bias,
            self.pool_kernel_size,
            self.pool_stride,
            self.pool_padding,
            self.pool_dilation,
            self.ceil_mode,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )

    def extra_repr(self) -> str:
        pooling = ", ".join(
            f"{name}={getattr(self, name)}"
            for name in ("pool_kernel_size", "pool_stride", "pool_padding", "pool_dilation", "ceil_mode")
        )
        return f"{super().extra_repr()}, {pooling}"

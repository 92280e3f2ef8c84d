"""PyTorch's ``MaxPool2d``, run by ``wwae.ops.max_pool2d``."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.ops import max_pool2d

__all__ = ["MaxPool2d"]

torch.fx.wrap("max_pool2d")  # one node of a symbolic trace, as in PyTorch


class MaxPool2d(torch.nn.MaxPool2d):
    """:class:`torch.nn.MaxPool2d`: the same constructor, results, ``repr``, state dict and errors.

    What differs: the gradient is deterministic on every device, and backward keeps one byte a window (two or four for windows of
    more than 256 or 32,768 taps) where PyTorch keeps the input and 8 bytes a window. ``torch.jit.script`` can't compile it.

    Args:
        kernel_size, stride, padding, dilation, return_indices, ceil_mode: as in PyTorch.

    Shape:
        - Input (Tensor[N, C, H, W] or Tensor[C, H, W]): float32, float64, bfloat16 or float16; integers are pooled by PyTorch.
        - Output (Tensor[N, C, OH, OW]): in the dtype and memory format of the input; with ``return_indices=True`` the pair of it
          and the int64 indices ``h * W + w``.

    Raises:
        TypeError, RuntimeError: in ``forward``, as PyTorch's module.

    Example:
        >>> pool = wwae.nn.MaxPool2d(2, return_indices=True)
        >>> values, indices = pool(torch.tensor([[[[1.0, 5.0], [3.0, 2.0]]]]))
        >>> values.item(), indices.item()
        (5.0, 1)
    """

    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return max_pool2d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)

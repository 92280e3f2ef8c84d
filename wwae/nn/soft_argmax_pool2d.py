"""Soft-argmax pooling, with a fixed or a learned sharpness."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from wwae.ops.soft_argmax_pool2d import soft_argmax_pool2d

__all__ = ["SoftArgmaxPool2d"]

torch.fx.wrap("soft_argmax_pool2d")


class SoftArgmaxPool2d(torch.nn.Module):
    """Differentiable pooling into a value and a position (Zhao et al. 2015, arXiv:1506.02351, equations 3 and 4).

    Args:
        kernel_size (int or pair): height and width of the window, in elements.
        beta (float or sequence of float): sharpness, one for all channels or one for each, at least 0 and finite. 0 takes the mean
            of a window; a large one its maximum, and the position of that.
        stride (int or pair): distance of neighbouring windows. Default: ``kernel_size``.
        padding (int or pair): elements added on each side, of weight 0; at most half the window. Default: 0.
        learned (bool): whether ``beta`` is a parameter, which then starts above 0. Default: False.

    A learned ``beta`` is the exponential of the parameter ``log_beta``, so that no step of an optimiser makes it negative. A fixed
    one is the float32 buffer ``beta``. Both are scalars, or have one value a channel.

    Shape:
        - Input (Tensor[N, C, H, W] or Tensor[C, H, W]): float32, float64, bfloat16 or float16.
        - Output (Tensor[N, C, OH, OW], Tensor[N, C, OH, OW, 2]): what, in the dtype and memory format of the input, and where,
          ``(x, y)`` in [-1, 1].

    Raises:
        ValueError: for a ``beta`` that is negative, not finite, neither a number nor a row of numbers, or 0 and learned.
        TypeError, ValueError, RuntimeError: in ``forward``, as :func:`wwae.ops.soft_argmax_pool2d`.

    Example:
        >>> what, where = wwae.nn.SoftArgmaxPool2d(2, beta=100.0)(torch.tensor([[[[1.0, 5.0], [3.0, 2.0]]]]))
        >>> what.item(), where.tolist()
        (5.0, [[[[[1.0, -1.0]]]]])
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        beta: float | Sequence[float] | Tensor,
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        learned: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.learned = learned
        start = torch.as_tensor(beta, dtype=torch.float32).detach().clone()
        allowed = (start > 0 if learned else start >= 0) & (start < math.inf)
        if start.dim() > 1 or start.numel() == 0 or not allowed.all():
            least = "> 0, to be learned," if learned else ">= 0"
            raise ValueError(
                f"SoftArgmaxPool2d: expected beta {least} and finite, one value or one for each channel, got {start.tolist()}"
            )
        if learned:
            self.log_beta = torch.nn.Parameter(start.log())
        else:
            self.register_buffer("beta", start)

    @property
    def sharpness(self) -> Tensor:
        """``beta`` as it is now."""
        return self.log_beta.exp() if self.learned else self.get_buffer("beta")

    def forward(self, input: Tensor) -> tuple[Tensor, Tensor]:
        return soft_argmax_pool2d(input, self.kernel_size, self.sharpness, self.stride, self.padding)

    def extra_repr(self) -> str:
        values = self.sharpness.detach()
        beta = f"{values.item():g}" if values.numel() == 1 else f"({values.numel()} channels)"
        return f"kernel_size={self.kernel_size}, beta={beta}, stride={self.stride}, padding={self.padding}, learned={self.learned}"

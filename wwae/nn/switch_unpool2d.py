"""Unpooling with the switches of a pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wwae.ops import Switches, switch_unpool2d

__all__ = ["SwitchUnpool2d"]

torch.fx.wrap("switch_unpool2d")


class SwitchUnpool2d(torch.nn.Module):
    """Put each value back where its maximum stood, 0 elsewhere (Zhao et al. 2015, arXiv:1506.02351, section 3, figure 1a).

    Args:
        overlap (str): what windows do that point at the same element: ``"last"`` keeps the last in raster order, ``"sum"`` adds
            them, ``"mean"`` divides the sum by their number. Default: ``"last"``.

    Shape:
        - Input (Tensor[N, C, OH, OW] or Tensor[C, OH, OW]): float32, float64, bfloat16 or float16.
        - Switches (Switches): of a pooling whose values have the shape of the input.
        - Output size (int or pair, optional): only a check, the size that was pooled.
        - Output (Tensor[N, C, H, W]): of the size that was pooled, in the dtype and memory format of the input.

    Raises:
        ValueError: for an unknown ``overlap``, and in ``forward`` as :func:`wwae.ops.switch_unpool2d`.
        TypeError, RuntimeError: in ``forward``, as :func:`wwae.ops.switch_unpool2d`.

    Example:
        >>> values, switches = wwae.nn.SwitchPool2d(2)(torch.tensor([[[[1.0, 5.0], [3.0, 2.0]]]]))
        >>> wwae.nn.SwitchUnpool2d()(values, switches).tolist()
        [[[[0.0, 5.0], [0.0, 0.0]]]]
    """

    def __init__(self, overlap: str = "last") -> None:
        super().__init__()
        if overlap not in ("last", "sum", "mean"):
            raise ValueError(f"SwitchUnpool2d: expected overlap to be one of 'last', 'sum', 'mean', got {overlap!r}")
        self.overlap = overlap

    def forward(self, input: Tensor, switches: Switches, output_size: int | Sequence[int] | None = None) -> Tensor:
        return switch_unpool2d(input, switches, output_size, self.overlap)

    def extra_repr(self) -> str:
        return f"overlap={self.overlap!r}"

"""PyTorch's ``MaxUnpool2d``, run by ``wwae.ops.max_unpool2d``, or by ``wwae.ops.switch_unpool2d`` where it is given switches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wwae.ops import Switches, max_unpool2d, switch_unpool2d

__all__ = ["MaxUnpool2d"]


def _unpool(
    input: Tensor,
    indices: Tensor | Switches,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    output_size: Sequence[int] | None,
) -> Tensor:
    if isinstance(indices, Switches):
        return switch_unpool2d(input, indices, output_size)
    return max_unpool2d(input, indices, kernel_size, stride, padding, output_size)


torch.fx.wrap("_unpool")  # one node of a symbolic trace, which decides by the indices of each run


class MaxUnpool2d(torch.nn.MaxUnpool2d):
    """:class:`torch.nn.MaxUnpool2d`: the same constructor, results, ``repr``, state dict and errors; deterministic on every device.

    In place of indices it also takes the :class:`wwae.ops.Switches` of a pooling, which know the size of the map that was pooled:
    ``output_size`` is then not needed, and only checked. Where windows share an index the last one wins, as in PyTorch on the CPU,
    and the gradient goes to that window alone; PyTorch sends it to all of them. ``torch.jit.script`` can't compile it.

    Args:
        kernel_size, stride, padding: as in PyTorch; not used with switches.

    Shape:
        - Input (Tensor[N, C, OH, OW] or Tensor[C, OH, OW]): float32, float64, bfloat16 or float16.
        - Indices (Tensor[int64] of the shape of the input, or Switches).
        - Output size (sequence of 2 or 4 ints, optional): default as in PyTorch, or the size that was pooled.
        - Output (Tensor[N, C, H, W]): in the dtype and memory format of the input.

    Raises:
        TypeError, ValueError, RuntimeError: in ``forward``, as PyTorch's module; with switches as
            :func:`wwae.ops.switch_unpool2d`.

    Example:
        >>> pool, unpool = wwae.nn.MaxPool2d(2, return_indices=True), wwae.nn.MaxUnpool2d(2)
        >>> unpool(*pool(torch.tensor([[[[1.0, 5.0], [3.0, 2.0]]]]))).tolist()
        [[[[0.0, 5.0], [0.0, 0.0]]]]
    """

    def forward(self, input: Tensor, indices: Tensor | Switches, output_size: Sequence[int] | None = None) -> Tensor:
        return _unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

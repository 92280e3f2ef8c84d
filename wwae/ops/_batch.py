"""Unbatched images: the operations take ``(N, C, H, W)``, the public functions ``(C, H, W)`` as well."""

from __future__ import annotations

from torch import Tensor


def batched(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors with a batch dimension of 1 where they have none."""
    return tuple(tensor.unsqueeze(0) if tensor.dim() == 3 else tensor for tensor in tensors)


def as_given(x: Tensor, *results: Tensor) -> tuple[Tensor, ...]:
    """The results without the batch dimension that ``x`` did not have."""
    return tuple(result.squeeze(0) for result in results) if x.dim() == 3 else results

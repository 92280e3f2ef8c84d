"""Unbatched images: the operations take ``(N, C, H, W)``, the public functions ``(C, H, W)`` as well."""

from __future__ import annotations

from torch import Tensor


def batched(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors, which all have a batch dimension or all have none, with one of 1 where there is none."""
    return tuple(tensor.unsqueeze(0) for tensor in tensors) if tensors[0].dim() == 3 else tensors


def as_given(x: Tensor, *results: Tensor) -> tuple[Tensor, ...]:
    """The results without the batch dimension that ``x`` did not have."""
    return tuple(result.squeeze(0) for result in results) if x.dim() == 3 else results

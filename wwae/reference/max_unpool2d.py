"""Unpooling by PyTorch's int64 indices."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.reference.window import Pair, memory_format


def last_claims(indices: Tensor, elements: int) -> Tensor:
    """Whether each window is the last in raster order among those with its index; planes have ``elements`` elements."""
    flat = indices.flatten(-2)
    order = torch.arange(flat.shape[-1], device=flat.device).expand(flat.shape)
    last = torch.full((*flat.shape[:-1], elements), -1, device=flat.device)
    last.scatter_reduce_(-1, flat, order, "amax")
    return (last.gather(-1, flat) == order).view(indices.shape)


def require_indices_inside(operation: str, indices: Tensor, size: Pair) -> None:
    """Raise for the first index, in raster order, that lies outside a plane of ``size``."""
    outside = indices[(indices < 0) | (indices >= size[0] * size[1])]
    if outside.numel():
        raise RuntimeError(
            f"{operation}: found an invalid max index {int(outside[0])} (output volumes are of size {size[0]}x{size[1]})"
        )


def max_unpool2d_reference(x: Tensor, indices: Tensor, output_size: Pair) -> Tensor:
    """Map ``(N, C, *output_size)`` with ``x`` at ``indices`` and 0 elsewhere; the last window in raster order wins."""
    require_indices_inside("max_unpool2d", indices, output_size)
    elements = output_size[0] * output_size[1]
    last = last_claims(indices, elements)
    # One spare element takes what is overwritten.
    full = x.new_zeros((*x.shape[:2], elements + 1))
    full.scatter_(-1, torch.where(last, indices, elements).flatten(-2), x.flatten(-2))
    return full[..., :elements].reshape(*x.shape[:2], *output_size).contiguous(memory_format=memory_format(x))

"""What the fake kernels of all poolings share: the checks of their geometry, and the shape of what they give."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.reference.window import Pair, memory_format


def empty_pooled(
    name: str,
    x: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
    *dtypes: torch.dtype,
) -> tuple[Tensor, ...]:
    """Uninitialised tensors of the windows of ``x``, (N, C, OH, OW) in its memory format, one for each dtype.

    Raises:
        RuntimeError: for an ``x`` or windows that the operation ``name`` does not take.
    """
    check.require_dtype(name, "x", x)
    check.require_image(name, "x", x)
    check.require_geometry(name, kernel_size, stride, padding, dilation)
    windows = check.require_windows(name, x, kernel_size, stride, padding, dilation, ceil_mode)
    shape, layout = (*x.shape[:2], *windows), memory_format(x)
    return tuple(torch.empty(shape, dtype=dtype, device=x.device, memory_format=layout) for dtype in dtypes)

"""Checks of arguments, made before any memory is touched. A message names the operation, the argument, the rule and the value."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wwae.reference.window import Pair, accumulation_dtype, offset_dtype, pooled_sizes, spatial_size

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
OVERLAPS = ("last", "sum", "mean")


def pair(operation: str, argument: str, value: int | Sequence[int]) -> Pair:
    """``value`` as ``(height, width)``: an int stands for both, as does a sequence of one."""
    if type(value) is int:
        return value, value
    if type(value) is tuple and len(value) == 2 and type(value[0]) is int and type(value[1]) is int:
        return value
    given: list[Any] = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    try:
        if any(isinstance(v, bool) for v in given):
            raise TypeError
        values: list[Any] = [v if isinstance(v, torch.SymInt) else operator.index(v) for v in given]
    except TypeError:
        raise TypeError(
            f"{operation}(): argument '{argument}' must be tuple of ints: expected {argument} to be an int or two ints, "
            f"got {value!r}"
        ) from None
    if len(values) not in (1, 2):
        raise RuntimeError(
            f"{operation}: {argument} must either be a single int, or a tuple of two ints: got {len(values)} values, {value!r}"
        )
    return values[0], values[-1]


def pool_arguments(
    operation: str,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: int | Sequence[int],
    dilation: int | Sequence[int],
) -> tuple[Pair, Pair, Pair, Pair]:
    """Kernel size, stride, padding and dilation as checked pairs; a stride of None or () is the kernel size."""
    kernel = pair(operation, "kernel_size", kernel_size)
    steps = kernel if stride is None or stride == () or stride == [] else pair(operation, "stride", stride)
    pads, gaps = pair(operation, "padding", padding), pair(operation, "dilation", dilation)
    require_geometry(operation, kernel, steps, pads, gaps)
    return kernel, steps, pads, gaps


def require_geometry(operation: str, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> None:
    """Refuse windows that do not exist, with PyTorch's limits."""
    # Without generators: this stands in the way of every call, and a small pooling takes no longer than a few of them.
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = kernel_size, stride, padding, dilation
    if (
        (kh > 0 and kw > 0 and sh > 0 and sw > 0 and dh > 0 and dw > 0)
        and 0 <= ph <= ((kh - 1) * dh + 1) // 2
        and 0 <= pw <= ((kw - 1) * dw + 1) // 2
    ):
        return
    for argument, words, values in (
        ("kernel_size", "kernel size should be greater than zero", kernel_size),
        ("stride", "stride should be greater than zero", stride),
        ("dilation", "dilation should be greater than zero", dilation),
    ):
        if min(values) <= 0:
            raise RuntimeError(f"{operation}: {words}: expected {argument} >= 1, got {tuple(values)}")
    if min(padding) < 0:
        raise RuntimeError(f"{operation}: pad must be non-negative: expected padding >= 0, got {tuple(padding)}")
    for p, k, d in zip(padding, kernel_size, dilation, strict=True):
        if p > ((k - 1) * d + 1) // 2:
            raise RuntimeError(
                f"{operation}: pad should be at most half of effective kernel size: expected padding <= {((k - 1) * d + 1) // 2} "
                f"for kernel_size={tuple(kernel_size)} and dilation={tuple(dilation)}, got {tuple(padding)}"
            )


def require_bool(operation: str, argument: str, value: bool) -> bool:
    """``value``, refused when it is no bool."""
    if not isinstance(value, bool):
        raise TypeError(
            f"{operation}(): argument '{argument}' must be bool: expected {argument} to be True or False, got {value!r}"
        )
    return value


def require_int(operation: str, argument: str, value: int) -> int:
    """``value``, refused when it is no int."""
    if isinstance(value, bool) or not isinstance(value, (int, torch.SymInt)):
        raise TypeError(f"{operation}(): argument '{argument}' must be int: expected {argument} to be an int, got {value!r}")
    return value


def require_dtype(operation: str, argument: str, x: Tensor) -> None:
    """Refuse what is not a tensor of one of the four floating-point types."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{operation}: expected {argument} to be a tensor, got {type(x).__name__}")
    if x.dtype not in DTYPES:
        raise RuntimeError(f"{operation}: expected {argument} of dtype float32, float64, bfloat16 or float16, got {x.dtype}")


def require_image(operation: str, argument: str, x: Tensor) -> None:
    """Refuse a tensor that is not ``(N, C, H, W)`` or ``(C, H, W)``; only the batch may be empty."""
    if x.dim() not in (3, 4):
        raise RuntimeError(
            f"{operation}: non-empty 3D or 4D (batch mode) tensor expected for input: "
            f"expected {argument} of shape (N, C, H, W) or (C, H, W), got {tuple(x.shape)}"
        )
    shape = x.shape
    if shape[-1] == 0 or shape[-2] == 0 or shape[-3] == 0:
        raise RuntimeError(
            f"{operation}: Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input: "
            f"expected {argument} of shape (N, C, H, W) or (C, H, W), got {tuple(x.shape)}"
        )


def require_windows(
    operation: str, x: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> Pair:
    """``(OH, OW)`` of pooling ``x``, refused when no window fits."""
    windows = pooled_sizes(spatial_size(x), kernel_size, stride, padding, dilation, ceil_mode)
    # One comparison a size: the smaller of two symbols would tie a compiled graph to one orientation of the image.
    if windows[0] < 1 or windows[1] < 1:
        raise RuntimeError(
            f"{operation}: Output size is too small: expected x large enough for one window of "
            f"kernel_size={tuple(kernel_size)}, dilation={tuple(dilation)}, padding={tuple(padding)}, "
            f"got x of shape {tuple(x.shape)} and output size {tuple(windows)}"
        )
    return windows


def require_overlap(operation: str, overlap: str) -> None:
    """Refuse an unknown rule for windows that point at the same element."""
    if overlap not in OVERLAPS:
        raise ValueError(f"{operation}: expected overlap to be one of 'last', 'sum', 'mean', got {overlap!r}")


def require_offsets(operation: str, offsets: Tensor, kernel_size: Pair) -> None:
    """Refuse offsets whose dtype is not the one that pooling with ``kernel_size`` records."""
    if offsets.dtype != offset_dtype(kernel_size):
        raise RuntimeError(
            f"{operation}: expected offsets of dtype {offset_dtype(kernel_size)} for kernel_size={tuple(kernel_size)}, "
            f"got {offsets.dtype}"
        )


def require_same_device(operation: str, argument: str, tensor: Tensor, x: Tensor) -> None:
    """Refuse a tensor that is not where ``x`` is."""
    if tensor.device != x.device:
        raise RuntimeError(f"{operation}: expected {argument} on {x.device}, the device of x, got {tensor.device}")


def require_like(operation: str, argument: str, tensor: Tensor, shape: Sequence[int], dtype: torch.dtype, x: Tensor) -> None:
    """Refuse a tensor of another shape or dtype, or that is not where ``x`` is."""
    if tensor.shape != tuple(shape):
        raise RuntimeError(f"{operation}: expected {argument} of shape {tuple(shape)}, got {tuple(tensor.shape)}")
    if tensor.dtype != dtype:
        raise RuntimeError(f"{operation}: expected {argument} of dtype {dtype}, got {tensor.dtype}")
    if tensor.device != x.device:
        raise RuntimeError(f"{operation}: expected {argument} on {x.device}, got {tensor.device}")


def require_plane_values(operation: str, argument: str, values: Tensor, x: Tensor) -> None:
    """Refuse what is not one value for every plane of ``x``, in the type of its sums."""
    require_like(operation, argument, values, x.shape[:2], accumulation_dtype(x.dtype), x)


def require_positions(operation: str, where: Tensor, what: Tensor) -> None:
    """Refuse what is not one position for every value of ``what``, in the type of its sums."""
    require_like(operation, "where", where, (*what.shape, 2), accumulation_dtype(what.dtype), what)


def has_values(x: Tensor) -> bool:
    """Whether there are values to look at, and looking breaks no graph or transform."""
    return not (
        x.is_meta
        or torch.compiler.is_compiling()
        or torch._C._functorch.is_functorch_wrapped_tensor(x)
        or isinstance(x, torch._subclasses.FakeTensor)
    )


def unpooled_size(
    operation: str, x: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, output_size: int | Sequence[int] | None
) -> Pair:
    """The size that unpooling ``x`` gives: ``output_size`` where given, less than one stride away from the default, as in PyTorch.

    ``output_size`` may carry batch and channels in front.
    """
    height, width = ((o - 1) * s + k - 2 * p for o, s, k, p in zip(x.shape[-2:], stride, kernel_size, padding, strict=True))
    default = size = (height, width)
    if output_size is not None:
        given = list(output_size) if isinstance(output_size, Sequence) else [output_size] * 2
        if len(given) not in (2, 4):
            raise ValueError(
                f"{operation}: output_size should be a sequence containing 2 or 4 elements, but it has a length of '{len(given)}'"
            )
        size = pair(operation, "output_size", given[-2:])
        for axis, (wanted, usual, step) in enumerate(zip(size, default, stride, strict=True)):
            if not usual - step < wanted < usual + step:
                raise ValueError(
                    f'{operation}: invalid output_size "{given[-2:]}" '
                    f"(dim {axis} must be between {usual - step} and {usual + step})"
                )
    if any(length < 1 for length in size):
        raise ValueError(f"{operation}: expected an output size of at least 1x1, got {size}")
    return size

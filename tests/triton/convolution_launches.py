"""The launches of the kernels with a convolution, as their host functions make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from offline import Launch, launches

from wwae import triton_kernels


def on_meta(shape: Sequence[int], dtype: torch.dtype, channels_last: bool) -> torch.Tensor:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=dtype, device="meta", memory_format=layout)


def convolution_launches(
    capability: int,
    shape: tuple[int, int, int, int],
    outputs: int,
    kernel: int,
    window: tuple[tuple[int, int], ...],
    dtype: torch.dtype,
    channels_last: bool,
) -> dict[str, Launch]:
    """The kernel of each operation, for an encoder of `shape` -> `outputs` channels and the decoder that goes back.

    The convolutions keep the size of their maps.
    """
    batch, inputs, height, width = shape
    pooled_size = ((size + 2 * p - k) // s + 1 for size, k, s, p in zip((height, width), *window[:3], strict=True))
    x = on_meta(shape, dtype, channels_last)
    pooled = on_meta((batch, outputs, *pooled_size), dtype, channels_last)
    offsets = on_meta(pooled.shape, torch.uint8, channels_last)
    weight, mirrored = (on_meta((o, i, kernel, kernel), dtype, True) for o, i in ((outputs, inputs), (inputs, outputs)))
    bias, mirrored_bias = (torch.empty(channels, dtype=dtype, device="meta") for channels in (outputs, inputs))
    padding = (kernel // 2, kernel // 2)
    decoder = (*window, (height, width))
    calls: tuple[tuple[Any, ...], ...] = (
        (triton_kernels.conv_relu_pool2d_triton, x, weight, bias, *window, False, (1, 1), padding, (1, 1), 1),
        (triton_kernels.unpool_conv2d_triton, pooled, offsets, mirrored, mirrored_bias, *decoder, padding, True),
        (triton_kernels.unpool_conv2d_weight_backward_triton, pooled, offsets, x, *decoder, (kernel, kernel), padding),
    )
    found = {}
    for function, *arguments in calls:
        (launch,) = launches(function, *arguments, capability=capability)
        found[function.__name__.removesuffix("_triton")] = launch
    return found

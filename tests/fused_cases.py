"""What kernels that apply bias or batch norm and ReLU before they pool are held to; see ``kernel_cases``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from kernel_cases import Case, assert_same, in_layout, make_map, make_offsets
from torch import Tensor

from wwae.reference.bias_relu_pool2d import bias_relu_pool2d_reference
from wwae.reference.bias_relu_pool2d_backward import bias_relu_pool2d_backward_reference
from wwae.reference.window import accumulation_dtype


def make_parameter(channels: int, dtype: torch.dtype, seed: int) -> Tensor:
    """One number a channel: halves, of which some make a whole map positive and others leave nothing of it."""
    numbers = torch.randint(-9, 10, (channels,), generator=torch.Generator().manual_seed(seed)) / 2
    return numbers.to(dtype)


def check_bias_relu_pool2d(backend: Callable[..., tuple[Tensor, ...]], case: Case, dtype: torch.dtype, channels_last: bool) -> None:
    x = in_layout(make_map(case.shape, dtype, seed=0), channels_last)
    for bias_dtype in {dtype, accumulation_dtype(dtype)}:
        # A third of a number is rounded in every dtype, and large ones take differences between taps away.
        bias = make_parameter(case.shape[1], torch.float64, seed=8)
        bias[::3] /= 3
        bias[1::5] *= 1000
        bias = bias.to(bias_dtype)
        actual = backend(x, bias, *case.window, case.ceil_mode)
        expected = bias_relu_pool2d_reference(x, bias, *case.window, case.ceil_mode)
        assert_same(actual[0], expected[0], x)
        assert_same(actual[1], expected[1], x)


def check_bias_relu_pool2d_backward(
    backend: Callable[..., tuple[Tensor, ...]], case: Case, dtype: torch.dtype, channels_last: bool, corrupt: bool = False
) -> None:
    """Small integers add up exactly in any order, so the sums are the same to the bit."""
    offsets = in_layout(make_offsets(case, dtype, corrupt), channels_last)
    values = in_layout(make_map(offsets.shape, dtype, seed=9), channels_last)
    for special in (False, True):
        grad = in_layout(make_map(offsets.shape, dtype, seed=10, special=special), channels_last)
        # Where windows share an element, infinities that meet there are NaN in any order, so these too are the same.
        actual = backend(grad, values, offsets, *case.window, case.shape[2:])
        expected = bias_relu_pool2d_backward_reference(grad, values, offsets, *case.window, case.shape[2:])
        assert_same(actual[0], expected[0], grad)
        torch.testing.assert_close(actual[1], expected[1], rtol=0, atol=0, equal_nan=True)

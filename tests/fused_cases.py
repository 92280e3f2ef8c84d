"""What kernels that apply bias or batch norm and ReLU before they pool are held to; see ``kernel_cases``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from kernel_cases import Case, assert_same, in_layout, make_map, make_offsets
from torch import Tensor

from wwae.reference.batch_norm_relu_pool2d import batch_norm_relu_pool2d_reference
from wwae.reference.batch_norm_relu_pool2d_backward import batch_norm_relu_pool2d_backward_reference
from wwae.reference.bias_relu_pool2d import bias_relu_pool2d_reference
from wwae.reference.bias_relu_pool2d_backward import bias_relu_pool2d_backward_reference
from wwae.reference.relu import channel_statistics
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


def batch_norm_parameters(channels: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weight, of both signs and in one channel 0, and bias."""
    weight = make_parameter(channels, torch.float64, seed=11) / 3
    if channels > 2:
        weight[2] = 0
    return weight.to(dtype), (make_parameter(channels, torch.float64, seed=12) / 7).to(dtype)


def check_batch_norm_relu_pool2d(
    backend: Callable[..., tuple[Tensor, ...]], case: Case, dtype: torch.dtype, channels_last: bool
) -> None:
    """Values and offsets are the same to the bit for the same mean and variance, whether those were given or found."""
    generator = torch.Generator().manual_seed(13)
    channels = case.shape[1]
    for parameter_dtype in {dtype, accumulation_dtype(dtype)}:
        parameters = batch_norm_parameters(channels, parameter_dtype)
        mean = torch.randn(channels, generator=generator).to(parameter_dtype)
        variance = torch.rand(channels, generator=generator).to(parameter_dtype)
        x = in_layout(make_map(case.shape, dtype, seed=0), channels_last)
        actual = backend(x, *parameters, mean, variance, 1e-5, *case.window, case.ceil_mode)
        expected = batch_norm_relu_pool2d_reference(x, *parameters, mean, variance, 1e-5, *case.window, case.ceil_mode)
        for a, e in zip(actual[:2], expected[:2], strict=True):
            assert_same(a, e, x)
        for a, e in zip(actual[2:], expected[2:], strict=True):
            torch.testing.assert_close(a, e, rtol=0, atol=0)

        x = in_layout((torch.randn(case.shape, generator=generator) + 3).to(dtype), channels_last)
        actual = backend(x, *parameters, None, None, 1e-3, *case.window, case.ceil_mode)
        for a, e in zip(actual[2:], channel_statistics(x), strict=True):
            torch.testing.assert_close(a, e, rtol=2e-5, atol=2e-6)
        expected = batch_norm_relu_pool2d_reference(x, *parameters, *actual[2:], 1e-3, *case.window, case.ceil_mode)
        for a, e in zip(actual[:2], expected[:2], strict=True):
            assert_same(a, e, x)


def check_batch_norm_relu_pool2d_backward(
    backend: Callable[..., tuple[Tensor, ...]],
    case: Case,
    dtype: torch.dtype,
    channels_last: bool,
    training: bool,
    corrupt: bool = False,
) -> None:
    """Up to the rounding of the coefficients, which are made of sums."""
    generator = torch.Generator().manual_seed(14)
    offsets = in_layout(make_offsets(case, dtype, corrupt), channels_last)
    values = in_layout(make_map(offsets.shape, dtype, seed=9), channels_last)
    grad = in_layout(torch.randn(offsets.shape, generator=generator).to(dtype), channels_last)
    x = in_layout((torch.randn(case.shape, generator=generator) + 3).to(dtype), channels_last)
    wide = accumulation_dtype(dtype)
    mean, variance = torch.full((case.shape[1],), 3, dtype=wide), torch.rand(case.shape[1], generator=generator).to(wide)
    weight, _ = batch_norm_parameters(case.shape[1], dtype)
    arguments = (grad, values, offsets, x, mean, variance, weight, training, 1e-2, *case.window)
    actual = backend(*arguments)
    expected = batch_norm_relu_pool2d_backward_reference(*arguments)
    precision = 2 * torch.finfo(dtype).eps if dtype != torch.float32 else 1e-5
    torch.testing.assert_close(actual[0], expected[0], rtol=precision, atol=precision)
    assert actual[0].stride() == expected[0].stride()
    for a, e in zip(actual[1:], expected[1:], strict=True):
        torch.testing.assert_close(a, e, rtol=2e-5, atol=2e-5)


# As ``CHECKS`` of kernel_cases.
CHECKS: dict[str, tuple[Callable[..., None], list[tuple]]] = {
    "bias_relu_pool2d": (check_bias_relu_pool2d, [()]),
    "bias_relu_pool2d_backward": (check_bias_relu_pool2d_backward, [(False,), (True,)]),
    "batch_norm_relu_pool2d": (check_batch_norm_relu_pool2d, [()]),
    "batch_norm_relu_pool2d_backward": (
        check_batch_norm_relu_pool2d_backward,
        [(training, corrupt) for training in (False, True) for corrupt in (False, True)],
    ),
}

"""What the fused convolutions are held to; see ``kernel_cases``.

Small integers are multiplied, whose sums are exact in float32 in any order, so that values and switches are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from kernel_cases import assert_same, in_layout
from torch import Tensor
from torch.nn import functional

from wwae.reference.relu import relu
from wwae.reference.switch_pool2d import switch_pool2d_reference
from wwae.reference.switch_unpool2d import switch_unpool2d_reference
from wwae.reference.window import Pair, pooled_sizes


class ConvCase(NamedTuple):
    """A convolution of a map (N, C, H, W) and a pooling of its result; or the unpooling of that pooling's switches."""

    shape: tuple[int, int, int, int]
    outputs: int
    conv_kernel: Pair = (3, 3)
    conv_padding: Pair = (1, 1)
    kernel_size: Pair = (2, 2)
    stride: Pair = (2, 2)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    ceil_mode: bool = False
    bias: bool = True

    @property
    def window(self) -> tuple[Pair, ...]:
        return self.kernel_size, self.stride, self.padding, self.dilation


# A block has 16 x 16 positions and 64 channels, a step 32 channels, a vector 8: sizes on both sides of each.
CASES = {
    "3x3 conv, 2x2 pool": ConvCase((1, 32, 16, 16), 64),
    "3x3 conv, 2x2 pool, two chunks, ragged": ConvCase((1, 40, 19, 21), 72),
    "3x3 conv, 2x2 pool, odd channels, ceil": ConvCase((2, 5, 9, 17), 11, ceil_mode=True),
    "3x3 conv, one channel, no bias": ConvCase((1, 1, 7, 6), 1, bias=False),
    "3x3 conv, 3x3 pool stride 2": ConvCase((1, 16, 18, 17), 24, kernel_size=(3, 3)),
    "3x3 conv, 3x3 pool stride 2, padding, ceil": ConvCase((1, 8, 20, 16), 8, (3, 3), (0, 0), (3, 3), (2, 2), (1, 1), ceil_mode=True),
    "5x5 conv, 2x2 pool": ConvCase((1, 33, 12, 20), 16, (5, 5), (2, 2)),
    "1x1 conv, 2x2 pool, four chunks": ConvCase((1, 104, 6, 18), 8, (1, 1), (0, 0)),
    "1x2 conv rectangle, pool 2x3": ConvCase((2, 24, 7, 11), 9, (1, 2), (0, 1), (2, 3), (1, 2), (1, 0), (2, 1)),
    "4x3 conv rectangle, 1x1 pool": ConvCase((1, 16, 6, 20), 8, (4, 3), (3, 0), (1, 1), (1, 1)),
    "7x7 conv, pool 16x16": ConvCase((1, 3, 20, 35), 5, (7, 7), (3, 3), (16, 16), (16, 16), (0, 8)),
    "pool with no real tap": ConvCase((1, 8, 2, 2), 8, (3, 3), (1, 1), (2, 2), (2, 2), (1, 1), (3, 3)),
    "stride wider than a tile": ConvCase((1, 8, 5, 40), 8, (3, 3), (1, 1), (2, 3), (2, 19)),
}


def integers(shape: tuple[int, ...], dtype: torch.dtype, seed: int, special: bool = False) -> Tensor:
    """Of three values, zero the most frequent, so that ties and dead windows abound; with NaN and infinities among them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-2, 3, shape, generator=generator).clamp(-1, 1).to(dtype)
    if special:
        kind = torch.randint(0, 400, shape, generator=generator)
        for number, value in enumerate((torch.nan, torch.inf, -torch.inf, -0.0)):
            x[kind == number] = value
    return x


def parameters(outputs: int, channels: int, kernel: Pair, bias: bool, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    weight = integers((outputs, channels, *kernel), dtype, seed=21)
    numbers = torch.randint(-9, 10, (outputs,), generator=torch.Generator().manual_seed(22)) / 4
    return weight, numbers.to(dtype) if bias else None


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Pair) -> Tensor:
    """The convolution with bias, not rounded."""
    return functional.conv2d(x.double(), weight.double(), None if bias is None else bias.double(), padding=padding)


def make_switches(case: ConvCase, dtype: torch.dtype, seed: int, special: bool = False) -> tuple[Tensor, Tensor]:
    """Pooled values, any numbers, and switches, of which some name no tap."""
    x = torch.randn(case.shape, generator=torch.Generator().manual_seed(seed))
    _, offsets = switch_pool2d_reference(x, *case.window, case.ceil_mode)
    corrupt = torch.randint(0, 256, offsets.shape, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.uint8)
    offsets = torch.where(corrupt < 16, corrupt * 16, offsets)
    values = integers(offsets.shape, dtype, seed + 2, special)
    return in_layout(values, True), in_layout(offsets, True)


def check_conv_relu_pool2d(backend: Callable[..., tuple[Tensor, ...]], case: ConvCase, dtype: torch.dtype) -> None:
    for special in (False, True):
        x = in_layout(integers(case.shape, dtype, seed=20, special=special), True)
        weight, bias = parameters(case.outputs, case.shape[1], case.conv_kernel, case.bias, dtype)
        convolution = ((1, 1), case.conv_padding, (1, 1), 1)
        actual = backend(x, weight, bias, *case.window, case.ceil_mode, *convolution)
        rounded = relu(convolved(x, weight, bias, case.conv_padding)).to(dtype)
        expected = switch_pool2d_reference(in_layout(rounded, True), *case.window, case.ceil_mode)
        for a, e in zip(actual, expected, strict=True):
            assert_same(a, e, x)


def check_unpool_conv2d(backend: Callable[..., Tensor], case: ConvCase, dtype: torch.dtype) -> None:
    for apply_relu, special in ((False, False), (True, True)):
        x, offsets = make_switches(case, dtype, seed=23, special=special)
        weight, bias = parameters(case.outputs, case.shape[1], case.conv_kernel, case.bias, dtype)
        actual = backend(x, offsets, weight, bias, *case.window, case.shape[2:], case.conv_padding, apply_relu)
        unpooled = switch_unpool2d_reference(x, offsets, *case.window, case.shape[2:], "last")
        expected = convolved(unpooled, weight, bias, case.conv_padding)
        expected = (relu(expected) if apply_relu else expected).to(dtype)
        expected = in_layout(expected, True)
        assert_same(actual, expected, expected)


def check_unpool_conv2d_weight_backward(backend: Callable[..., Tensor], case: ConvCase, dtype: torch.dtype) -> None:
    x, offsets = make_switches(case, dtype, seed=26)
    sizes = zip(case.shape[2:], case.conv_padding, case.conv_kernel, strict=True)
    size = [length + 2 * padding - kernel + 1 for length, padding, kernel in sizes]
    dense = in_layout(integers((case.shape[0], case.outputs, *size), dtype, seed=29), True)
    actual = backend(x, offsets, dense, *case.window, case.shape[2:], case.conv_kernel, case.conv_padding)
    unpooled = switch_unpool2d_reference(x, offsets, *case.window, case.shape[2:], "last").double()
    expected = torch.nn.grad.conv2d_weight(
        unpooled, (case.outputs, case.shape[1], *case.conv_kernel), dense.double(), padding=case.conv_padding
    )
    torch.testing.assert_close(actual, expected.to(dtype), rtol=0, atol=0)


CHECKS: dict[str, Callable[..., None]] = {
    "conv_relu_pool2d": check_conv_relu_pool2d,
    "unpool_conv2d": check_unpool_conv2d,
    "unpool_conv2d_weight_backward": check_unpool_conv2d_weight_backward,
}

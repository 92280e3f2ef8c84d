"""What every backend of the operations with a convolution is held to; see ``kernel_cases``.

Small integers are multiplied, whose sums are exact in any order, so that results are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from kernel_cases import Case, assert_same, in_layout, make_offsets
from torch import Tensor

from wwae.reference.conv_relu_pool2d import conv_relu_pool2d_reference
from wwae.reference.conv_relu_pool2d_backward import conv_relu_pool2d_backward_reference
from wwae.reference.unpool_conv2d import unpool_conv2d_reference
from wwae.reference.unpool_conv2d_weight_backward import unpool_conv2d_weight_backward_reference
from wwae.reference.window import Pair, memory_format

OUTPUTS = 6


class Convolution(NamedTuple):
    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = True

    @property
    def arguments(self) -> tuple[Pair, Pair, Pair, int]:
        return self.stride, self.padding, self.dilation, self.groups

    def input_shape(self, case: Case) -> tuple[int, ...]:
        """Of the map whose convolution has the size of the case's map."""
        batch, channels, *size = case.shape
        axes = zip(size, self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        return batch, channels * self.groups, *((n - 1) * s + (k - 1) * d + 1 - 2 * p for n, k, s, p, d in axes)


# The first three are what the fused kernels are made for.
CONVOLUTIONS = (
    Convolution((3, 3), padding=(1, 1)),
    Convolution((5, 5), padding=(2, 2)),
    Convolution((3, 3), bias=False),
    Convolution((1, 2), padding=(0, 1)),
    Convolution((3, 2), (2, 1), (1, 0), (1, 2), groups=2),
)


def small_integers(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    """-1, 0 and 1, zero the most frequent: ties and windows that ReLU empties abound."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-2, 3, shape, generator=generator).clamp(-1, 1).to(dtype)


def parameters(outputs: int, channels: int, convolution: Convolution, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    weight = small_integers((outputs, channels // convolution.groups, *convolution.kernel_size), dtype, seed=31)
    bias = torch.randint(-9, 10, (outputs,), generator=torch.Generator().manual_seed(32)) / 4
    return weight, bias.to(dtype) if convolution.bias else None


def run(backend: Callable[..., Any], stem: str, case: Case, dtype: torch.dtype, *arguments: Any, plain: bool) -> Any:
    """What a backend gives; None where a kernel says that it takes no such thing, as it may but for plain convolutions
    of channels-last 16-bit maps and 2 x 2 windows."""
    try:
        return backend(*arguments)
    except RuntimeError as refusal:
        common = plain and case.window == ((2, 2), (2, 2), (0, 0), (1, 1)) and dtype in (torch.bfloat16, torch.float16)
        if common or not str(refusal).startswith(f"{stem}: the "):
            raise
        return None


def check_conv_relu_pool2d(
    backend: Callable[..., Any], case: Case, dtype: torch.dtype, channels_last: bool, convolution: Convolution
) -> None:
    x = in_layout(small_integers(convolution.input_shape(case), dtype, seed=30), channels_last)
    weight, bias = parameters(OUTPUTS, x.shape[1], convolution, dtype)
    arguments = (x, weight, bias, *case.window, case.ceil_mode, *convolution.arguments)
    plain = channels_last and convolution in CONVOLUTIONS[:3]
    actual = run(backend, "conv_relu_pool2d", case, dtype, *arguments, plain=plain)
    if actual is None:
        return
    for a, e in zip(actual, conv_relu_pool2d_reference(*arguments), strict=True):
        assert_same(a, e, e)


def check_conv_relu_pool2d_backward(
    backend: Callable[..., Any],
    case: Case,
    dtype: torch.dtype,
    channels_last: bool,
    convolution: Convolution,
    corrupt: bool,
    wanted: tuple[bool, bool, bool],
) -> None:
    shape = convolution.input_shape(case)
    offsets = make_offsets(Case((shape[0], OUTPUTS, *case.shape[2:]), *case[1:]), dtype, corrupt)
    offsets = in_layout(offsets, channels_last)
    values, grad = (in_layout(small_integers(offsets.shape, dtype, seed), channels_last) for seed in (33, 34))
    x = in_layout(small_integers(shape, dtype, seed=30), channels_last)
    weight, _ = parameters(OUTPUTS, x.shape[1], convolution, dtype)
    arguments = (grad, values, offsets, x, weight, *case.window, *convolution.arguments, wanted)
    plain = channels_last and convolution in CONVOLUTIONS[:3]
    actual = run(backend, "conv_relu_pool2d_backward", case, dtype, *arguments, plain=plain)
    if actual is None:
        return
    for a, e in zip(actual, conv_relu_pool2d_backward_reference(*arguments), strict=True):
        assert e.dim() == 1 or a.is_contiguous(memory_format=memory_format(e))
        torch.testing.assert_close(a, e, rtol=0, atol=0)


def check_unpool_conv2d(
    backend: Callable[..., Any],
    case: Case,
    dtype: torch.dtype,
    channels_last: bool,
    convolution: Convolution,
    corrupt: bool,
    relu: bool,
) -> None:
    offsets = in_layout(make_offsets(case, dtype, corrupt), channels_last)
    x = in_layout(small_integers(offsets.shape, dtype, seed=35), channels_last)
    weight, bias = parameters(OUTPUTS, x.shape[1], convolution, dtype)
    size = (case.shape[2] + convolution.kernel_size[0], case.shape[3] + convolution.kernel_size[1])
    for output_size in {size, case.shape[2:]} if _fits(case, convolution) else {size}:
        arguments = (x, offsets, weight, bias, *case.window, output_size, convolution.padding, relu)
        actual = run(backend, "unpool_conv2d", case, dtype, *arguments, plain=channels_last)
        if actual is None:
            return
        expected = unpool_conv2d_reference(*arguments)
        assert_same(actual, expected, expected)


def check_unpool_conv2d_weight_backward(
    backend: Callable[..., Any],
    case: Case,
    dtype: torch.dtype,
    channels_last: bool,
    convolution: Convolution,
    corrupt: bool,
) -> None:
    if not _fits(case, convolution):
        return
    offsets = in_layout(make_offsets(case, dtype, corrupt), channels_last)
    x = in_layout(small_integers(offsets.shape, dtype, seed=36), channels_last)
    axes = zip(case.shape[2:], convolution.padding, convolution.kernel_size, strict=True)
    dense_shape = (case.shape[0], OUTPUTS, *(n + 2 * p - k + 1 for n, p, k in axes))
    dense = in_layout(small_integers(dense_shape, dtype, seed=37), channels_last)
    arguments = (x, offsets, dense, *case.window, case.shape[2:], convolution.kernel_size, convolution.padding)
    actual = run(backend, "unpool_conv2d_weight_backward", case, dtype, *arguments, plain=channels_last)
    if actual is None:
        return
    expected = unpool_conv2d_weight_backward_reference(*arguments)
    assert actual.stride() == expected.stride()
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def _fits(case: Case, convolution: Convolution) -> bool:
    """Whether the kernel fits into the padded map."""
    axes = zip(case.shape[2:], convolution.kernel_size, convolution.padding, strict=True)
    return all(n + 2 * p >= k for n, k, p in axes)


_PLAIN = CONVOLUTIONS[:4]

# As ``CHECKS`` of kernel_cases.
CHECKS: dict[str, tuple[Callable[..., None], list[tuple]]] = {
    "conv_relu_pool2d": (check_conv_relu_pool2d, [(convolution,) for convolution in CONVOLUTIONS]),
    "conv_relu_pool2d_backward": (
        check_conv_relu_pool2d_backward,
        [
            (convolution, corrupt, wanted)
            for convolution in CONVOLUTIONS
            for corrupt, wanted in ((False, (True, True, True)), (True, (True, True, True)), (False, (False, True, True)))
        ],
    ),
    "unpool_conv2d": (
        check_unpool_conv2d,
        [(convolution, corrupt, corrupt) for convolution in _PLAIN for corrupt in (False, True)],
    ),
    "unpool_conv2d_weight_backward": (
        check_unpool_conv2d_weight_backward,
        [(convolution, corrupt) for convolution in _PLAIN for corrupt in (False, True)],
    ),
}

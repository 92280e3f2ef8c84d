"""Cases that every kernel backend is held to, and the comparison with the reference, exact to the bit.

`check_<stem>(<stem>_backend, case, dtype, channels_last)` runs one backend's host function beside the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from wwae.reference.fixed_unpool2d import fixed_unpool2d_reference
from wwae.reference.max_gather2d import max_gather2d_reference
from wwae.reference.max_pool2d import max_pool2d_reference
from wwae.reference.max_unpool2d import max_unpool2d_reference
from wwae.reference.switch_gather2d import switch_gather2d_reference
from wwae.reference.switch_pool2d import switch_pool2d_reference
from wwae.reference.switch_unpool2d import switch_unpool2d_reference
from wwae.reference.window import memory_format, side_by_side

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class Case(NamedTuple):
    shape: tuple[int, int, int, int]
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    ceil_mode: bool = False

    @property
    def window(self) -> tuple[tuple[int, int], ...]:
        return self.kernel_size, self.stride, self.padding, self.dilation

    @property
    def overlapping(self) -> bool:
        axes = zip(self.kernel_size, self.stride, self.dilation, strict=True)
        return any(stride < (kernel - 1) * dilation + 1 for kernel, stride, dilation in axes)


CASES = {
    # Whole 16-byte vectors of every dtype along the inner axis, then odd sizes on both sides of a vector or tile.
    "2x2 even": Case((2, 16, 6, 32), (2, 2), (2, 2)),
    "2x2 half vector": Case((1, 8, 4, 24), (2, 2), (2, 2)),
    "2x2 odd": Case((2, 3, 7, 13), (2, 2), (2, 2)),
    "2x2 odd ceil": Case((2, 17, 7, 13), (2, 2), (2, 2), ceil_mode=True),
    "2x2 one channel": Case((3, 1, 5, 35), (2, 2), (2, 2)),
    "2x2 padding": Case((1, 8, 6, 8), (2, 2), (2, 2), (1, 1)),
    "2x2 many columns": Case((1, 300, 2, 4), (2, 2), (2, 2)),
    "2x2 long line": Case((1, 2, 4, 1030), (2, 2), (2, 2)),
    "2x2 overlapping": Case((1, 5, 5, 6), (2, 2), (1, 1)),
    "3x3 stride 2": Case((2, 16, 9, 11), (3, 3), (2, 2)),
    "3x3 stride 2 padding ceil": Case((1, 5, 8, 18), (3, 3), (2, 2), (1, 1), ceil_mode=True),
    "3x3 stride 3": Case((1, 4, 9, 12), (3, 3), (3, 3)),
    "5x5 stride 1": Case((1, 2, 7, 6), (5, 5), (1, 1), (2, 2)),
    "stride wider than kernel": Case((1, 4, 9, 10), (2, 2), (3, 4)),
    "1x1": Case((1, 3, 4, 5), (1, 1), (1, 1)),
    "rectangle dilated": Case((2, 4, 9, 11), (3, 2), (2, 3), (1, 0), (2, 2), True),
    "disjoint dilated": Case((1, 4, 10, 12), (2, 2), (4, 3), (1, 1), (3, 2)),
    "no real tap": Case((2, 3, 2, 2), (2, 2), (1, 1), (1, 1), (3, 3)),
    "16x16": Case((1, 2, 33, 18), (16, 16), (16, 16)),
    "17x16 offsets of 16 bits": Case((1, 2, 20, 35), (17, 16), (9, 16), (2, 3)),
}


def in_layout(x: Tensor, channels_last: bool) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def make_map(shape: tuple[int, ...], dtype: torch.dtype, seed: int, special: bool = True) -> Tensor:
    """Small integers, so that ties abound, with NaN, infinities and negative zeros among them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-3, 4, shape, generator=generator).to(dtype)
    if special:
        kind = torch.randint(0, 40, shape, generator=generator)
        for number, value in enumerate((torch.nan, torch.inf, -torch.inf, -0.0)):
            x[kind == number] = value
        x[..., : shape[2] // 2, : shape[3] // 3] = -torch.inf
    return x


def make_offsets(case: Case, dtype: torch.dtype, corrupt: bool) -> Tensor:
    """The switches of a pool, or any number that fits their type."""
    x = make_map(case.shape, torch.float32, seed=1)
    offsets = switch_pool2d_reference(x, *case.window, case.ceil_mode)[1]
    if corrupt:
        generator = torch.Generator().manual_seed(2)
        taps = case.kernel_size[0] * case.kernel_size[1]
        limits = torch.iinfo(offsets.dtype)
        any_number = torch.randint(limits.min, limits.max, offsets.shape, generator=generator)
        near = torch.randint(0, 2 * taps, offsets.shape, generator=generator).clamp(max=limits.max)
        offsets = torch.where(torch.rand(offsets.shape, generator=generator) < 0.3, any_number, near).to(offsets.dtype)
    return offsets


def assert_same(actual: Tensor, expected: Tensor, x: Tensor, signed_zeros: bool = False) -> None:
    """Equal in every bit but those of NaN (and the sign of zero, where sums may lose it), in the layout x asks for."""
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert actual.is_contiguous(memory_format=memory_format(x))
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
    if signed_zeros:
        numbers = ~expected.isnan()
        assert torch.equal(actual.signbit()[numbers], expected.signbit()[numbers])


def check_switch_pool2d(backend: Callable[..., tuple[Tensor, ...]], case: Case, dtype, channels_last: bool) -> None:
    x = in_layout(make_map(case.shape, dtype, seed=0), channels_last)
    actual = backend(x, *case.window, case.ceil_mode)
    expected = switch_pool2d_reference(x, *case.window, case.ceil_mode)
    assert_same(actual[0], expected[0], x, signed_zeros=True)
    assert_same(actual[1], expected[1], x)


def check_max_pool2d(backend: Callable[..., tuple[Tensor, ...]], case: Case, dtype, channels_last: bool) -> None:
    x = in_layout(make_map(case.shape, dtype, seed=0), channels_last)
    actual = backend(x, *case.window, case.ceil_mode)
    expected = max_pool2d_reference(x, *case.window, case.ceil_mode)
    assert_same(actual[0], expected[0], x, signed_zeros=True)
    assert_same(actual[1], expected[1], x)
    assert_same(actual[2], expected[2], x)


def check_switch_unpool2d(
    backend: Callable[..., Tensor], case: Case, dtype, channels_last: bool, overlap: str, corrupt: bool
) -> None:
    offsets = in_layout(make_offsets(case, dtype, corrupt), channels_last)
    kernel_size, stride, _, dilation = case.window
    adds = overlap != "last" and not side_by_side(kernel_size, stride, dilation)
    x = in_layout(make_map(offsets.shape, dtype, seed=3, special=not adds), channels_last)
    for size in (case.shape[2:], (case.shape[2] + 3, case.shape[3] - 1)):
        actual = backend(x, offsets, *case.window, size, overlap)
        expected = switch_unpool2d_reference(x, offsets, *case.window, size, overlap)
        assert_same(actual, expected, x, signed_zeros=not adds)


def check_switch_gather2d(
    backend: Callable[..., Tensor], case: Case, dtype, channels_last: bool, overlap: str, corrupt: bool
) -> None:
    offsets = in_layout(make_offsets(case, dtype, corrupt), channels_last)
    x = in_layout(make_map(case.shape, dtype, seed=4), channels_last)
    actual = backend(x, offsets, *case.window, overlap)
    expected = switch_gather2d_reference(x, offsets, *case.window, overlap)
    assert_same(actual, expected, x, signed_zeros=overlap == "sum")


def check_fixed_unpool2d(backend: Callable[..., Tensor], case: Case, dtype, channels_last: bool) -> None:
    stride, (batch, channels, height, width) = case.stride, case.shape
    shape = (batch, channels, height // stride[0] + 1, width // stride[1])
    x = in_layout(make_map(shape, dtype, seed=5), channels_last)
    for position in ((0, 0), (stride[0] - 1, stride[1] // 2), (stride[0] + 1, stride[1])):
        for size in ((height, width), (height + 3, width + 1)):
            actual = backend(x, stride, position, size)
            expected = fixed_unpool2d_reference(x, stride, position, size)
            assert_same(actual, expected, x, signed_zeros=True)


def check_max_unpool2d(backend: Callable[..., Tensor], case: Case, dtype, channels_last: bool) -> None:
    for x, indices in indexed_windows(case, dtype, channels_last):
        actual = backend(x, indices, case.shape[2:])
        expected = max_unpool2d_reference(x, indices, case.shape[2:])
        assert_same(actual, expected, x, signed_zeros=True)


def check_max_gather2d(backend: Callable[..., Tensor], case: Case, dtype, channels_last: bool) -> None:
    x = in_layout(make_map(case.shape, dtype, seed=7), channels_last)
    for _, indices in indexed_windows(case, dtype, channels_last):
        actual = backend(x, indices)
        expected = max_gather2d_reference(x, indices)
        assert_same(actual, expected, x)


def indexed_windows(case: Case, dtype: torch.dtype, channels_last: bool) -> list[tuple[Tensor, Tensor]]:
    """Windows with a pool's indices, and with any indices of the plane, where many windows share one."""
    pooled = max_pool2d_reference(make_map(case.shape, torch.float32, seed=1), *case.window, case.ceil_mode)[1]
    pixels = case.shape[2] * case.shape[3]
    anything = torch.randint(0, max(pixels // 3, 1), pooled.shape, generator=torch.Generator().manual_seed(6))
    x = in_layout(make_map(pooled.shape, dtype, seed=3), channels_last)
    return [(x, in_layout(indices, channels_last)) for indices in (pooled.clamp(0, pixels - 1), anything)]


# Every operation's check, and what it may be given after (backend, case, dtype, channels_last): a tuple for each variant.
_OVERLAPS = [(overlap, corrupt) for overlap in ("last", "sum", "mean") for corrupt in (False, True)]
CHECKS: dict[str, tuple[Callable[..., None], list[tuple]]] = {
    "switch_pool2d": (check_switch_pool2d, [()]),
    "max_pool2d": (check_max_pool2d, [()]),
    "switch_unpool2d": (check_switch_unpool2d, _OVERLAPS),
    "switch_gather2d": (check_switch_gather2d, _OVERLAPS),
    "fixed_unpool2d": (check_fixed_unpool2d, [()]),
    "max_unpool2d": (check_max_unpool2d, [()]),
    "max_gather2d": (check_max_gather2d, [()]),
}

"""The transpose of unpooling by indices: kernels against the reference, and the adjoint identity."""

import pytest
import torch
from kernel_cases import check_max_gather2d, indexed_windows
from ops.grid import every_case, every_dtype, every_layout

from wwae.reference.max_gather2d import max_gather2d_reference


@every_case
@every_dtype
@every_layout
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last):
    check_max_gather2d(kernel("max_gather2d"), case, dtype, channels_last)


@every_case
def test_adjoint_of_unpooling(case):
    for _, indices in indexed_windows(case, torch.float64, False):
        values = torch.randn(indices.shape, dtype=torch.float64)
        full = torch.randn(case.shape, dtype=torch.float64)
        unpooled = torch.ops.wwae.max_unpool2d(values, indices, case.shape[2:])
        gathered = torch.ops.wwae.max_gather2d(full, indices)
        torch.testing.assert_close((unpooled * full).sum(), (values * gathered).sum())


def _indices(kind: str, windows: tuple[int, int], channels: int, size: tuple[int, int]) -> torch.Tensor:
    """int64[2, channels, OH, OW] into maps of ``size``; with "reach" within two strides of the window's corner, and often equal."""
    shape = 2, channels, *windows
    if kind == "anywhere":
        return torch.randint(size[0] * size[1], shape)
    strides = [length // count for length, count in zip(size, windows, strict=True)]
    corners = [torch.arange(count) * stride for count, stride in zip(windows, strides, strict=True)]
    row = corners[0][:, None] + torch.randint(2 * strides[0], shape)
    column = corners[1] + torch.randint(2 * strides[1], shape)
    indices = row.clamp(max=size[0] - 1) * size[1] + column.clamp(max=size[1] - 1)
    # One step to the left of a border window stands in the last column of the row above, under another window.
    return (indices - 1).clamp(min=0) if kind == "left of reach" else indices


@pytest.mark.parametrize("kind", ["reach", "left of reach", "anywhere"])
@pytest.mark.parametrize("channels", [1, 3, 40])
@pytest.mark.parametrize(
    ("windows", "size"),
    [((1, 1), (3, 2)), ((4, 1), (8, 3)), ((1, 5), (2, 11)), ((3, 2), (5, 4)), ((5, 7), (10, 14)), ((40, 51), (81, 103))],
)
def test_windows_that_meet_next_to_each_other_and_elsewhere(kind, channels, windows, size):
    torch.manual_seed(0)
    for _ in range(5):
        indices = _indices(kind, windows, channels, size)
        x = torch.randn(2, channels, *size)
        for layout in (torch.contiguous_format, torch.channels_last):
            actual = torch.ops.wwae.max_gather2d(x.contiguous(memory_format=layout), indices.contiguous(memory_format=layout))
            torch.testing.assert_close(actual, max_gather2d_reference(x, indices), rtol=0, atol=0)

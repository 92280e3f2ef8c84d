"""The transpose of unpooling: kernels against the reference, and the adjoint identity."""

import pytest
import torch
from kernel_cases import check_switch_gather2d, make_offsets
from ops.grid import every_case, every_dtype, every_layout, every_overlap

from wwae.reference.switch_gather2d import switch_gather2d_reference


@every_case
@every_dtype
@every_layout
@every_overlap
@pytest.mark.parametrize("corrupt", [False, True], ids=["pooled", "corrupt"])
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last, overlap, corrupt):
    check_switch_gather2d(kernel("switch_gather2d"), case, dtype, channels_last, overlap, corrupt)


@every_case
@every_overlap
def test_adjoint_of_unpooling(case, overlap):
    offsets = make_offsets(case, torch.float64, corrupt=True)
    values = torch.randn(offsets.shape, dtype=torch.float64)
    full = torch.randn(case.shape, dtype=torch.float64)
    unpooled = torch.ops.wwae.switch_unpool2d(values, offsets, *case.window, case.shape[2:], overlap)
    gathered = torch.ops.wwae.switch_gather2d(full, offsets, *case.window, overlap)
    torch.testing.assert_close((unpooled * full).sum(), (values * gathered).sum())


@pytest.mark.parametrize("channels", [1, 70])
@pytest.mark.parametrize(
    "window", [((3, 3), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1)), ((2, 5), (1, 3), (1, 0)), ((3, 3), (1, 1), (0, 0))]
)
def test_windows_that_meet_across_a_large_map(channels, window):
    torch.manual_seed(0)
    x = torch.randn(2, channels, 60, 131)
    window = *window, (1, 1)
    for layout in (torch.contiguous_format, torch.channels_last):
        full = x.contiguous(memory_format=layout)
        _, offsets = torch.ops.wwae.switch_pool2d(full, *window, False)
        actual = torch.ops.wwae.switch_gather2d(full, offsets, *window, "last")
        torch.testing.assert_close(actual, switch_gather2d_reference(full, offsets, *window, "last"), rtol=0, atol=0)


def test_direct_calls_are_refused_before_memory_is_touched():
    offsets = torch.zeros(1, 2, 2, 2, dtype=torch.uint8)
    for x in (torch.zeros(2, 2, 4, 4), torch.zeros(1, 3, 4, 4)):
        with pytest.raises(RuntimeError, match="switch_gather2d: expected"):
            torch.ops.wwae.switch_gather2d(x, offsets, [2, 2], [2, 2], [0, 0], [1, 1], "sum")

"""Every CUDA kernel, run on the CPU, equals the reference: bit for bit, the soft operations up to rounding."""

from __future__ import annotations

from pathlib import Path

import kernel_cases
import pytest
import soft_cases
import torch
from emulation.build import missing
from emulation.emulated import EmulatedKernels
from kernel_cases import CASES, DTYPES, Case, in_layout, make_map

from wwae.reference.max_gather2d import max_gather2d_reference
from wwae.reference.max_unpool2d import max_unpool2d_reference
from wwae.reference.switch_gather2d import switch_gather2d_reference
from wwae.reference.switch_pool2d import switch_pool2d_reference
from wwae.reference.switch_unpool2d import switch_unpool2d_reference

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")

layouts = pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
overlapping_cases = pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in CASES.items() if case.overlapping]
)


@pytest.fixture
def kernels(library: Path) -> EmulatedKernels:
    return EmulatedKernels(library)


@pytest.mark.parametrize("stem", ["switch_pool2d", "max_pool2d", "fixed_unpool2d"])
@layouts
@dtypes
@cases
def test_equals_reference(kernels: EmulatedKernels, stem: str, case: Case, dtype: torch.dtype, channels_last: bool):
    getattr(kernel_cases, f"check_{stem}")(getattr(kernels, stem), case, dtype, channels_last)


@pytest.mark.parametrize("order", ["forward", "reverse"])
@pytest.mark.parametrize("stem", ["max_unpool2d", "max_gather2d"])
@layouts
@dtypes
@cases
def test_owners_do_not_depend_on_order(library: Path, order: str, stem: str, case: Case, dtype: torch.dtype, channels_last: bool):
    kernels = EmulatedKernels(library, order, wide_owners=order == "reverse")
    getattr(kernel_cases, f"check_{stem}")(getattr(kernels, stem), case, dtype, channels_last)
    assert kernels.failed_assertions() == 0


@pytest.mark.parametrize(
    "stem",
    ["soft_argmax_pool2d", "soft_argmax_pool2d_backward", "soft_argmax_unpool2d", "soft_argmax_unpool2d_backward"],
)
@layouts
@dtypes
@cases
def test_soft_operations_are_near_the_reference(
    kernels: EmulatedKernels, stem: str, case: Case, dtype: torch.dtype, channels_last: bool
):
    getattr(soft_cases, f"check_{stem}")(getattr(kernels, stem), case, dtype, channels_last)


@pytest.mark.parametrize("corrupt", [False, True], ids=["recorded", "corrupt"])
@pytest.mark.parametrize("stem", ["switch_unpool2d", "switch_gather2d"])
@layouts
@dtypes
@cases
def test_last_switch_wins(kernels: EmulatedKernels, stem: str, case: Case, dtype: torch.dtype, channels_last: bool, corrupt: bool):
    check = getattr(kernel_cases, f"check_{stem}")
    check(getattr(kernels, stem), case, dtype, channels_last, "last", corrupt)


@pytest.mark.parametrize("overlap", ["sum", "mean"])
@pytest.mark.parametrize("stem", ["switch_unpool2d", "switch_gather2d"])
@layouts
@dtypes
@overlapping_cases
def test_switches_add(kernels: EmulatedKernels, stem: str, case: Case, dtype: torch.dtype, channels_last: bool, overlap: str):
    check = getattr(kernel_cases, f"check_{stem}")
    for corrupt in (False, True):
        check(getattr(kernels, stem), case, dtype, channels_last, overlap, corrupt)


@pytest.mark.parametrize("offset_dtype", [torch.int16, torch.int32], ids=str)
@pytest.mark.parametrize("name", ["2x2 even", "3x3 stride 2 padding ceil", "no real tap", "16x16"])
@layouts
def test_wide_offsets(kernels: EmulatedKernels, name: str, channels_last: bool, offset_dtype: torch.dtype):
    """Windows of more than 256 and 32768 taps have wider offsets; the type is put upon small windows here."""
    case = CASES[name]
    x = in_layout(make_map(case.shape, torch.float32, seed=0), channels_last)
    values, offsets = switch_pool2d_reference(x, *case.window, case.ceil_mode)
    wide = offsets.to(offset_dtype)
    kernels.offset_dtype = offset_dtype
    for actual, expected in zip(kernels.switch_pool2d(x, *case.window, case.ceil_mode), (values, wide), strict=True):
        kernel_cases.assert_same(actual, expected, x)
    wide[..., ::2, :] += torch.iinfo(offset_dtype).min  # negative offsets name no tap
    wide[..., -1] = torch.iinfo(offset_dtype).max
    size = case.shape[2:]
    kernel_cases.assert_same(
        kernels.switch_unpool2d(values, wide, *case.window, size, "last"),
        switch_unpool2d_reference(values, wide, *case.window, size, "last"),
        values,
    )
    kernel_cases.assert_same(
        kernels.switch_gather2d(x, wide, *case.window, "last"),
        switch_gather2d_reference(x, wide, *case.window, "last"),
        x,
    )


@layouts
@dtypes
def test_unaligned_input(kernels: EmulatedKernels, dtype: torch.dtype, channels_last: bool):
    """Memory that starts one element behind an aligned address is not read in vectors."""
    case = CASES["2x2 even"]
    x = in_layout(make_map(case.shape, dtype, seed=0), channels_last)
    storage = torch.empty(x.numel() + 1, dtype=dtype)
    shifted = storage[1:].as_strided(x.shape, x.stride()).copy_(x)
    expected = switch_pool2d_reference(x, *case.window, case.ceil_mode)
    for actual, wanted in zip(kernels.switch_pool2d(shifted, *case.window, case.ceil_mode), expected, strict=True):
        kernel_cases.assert_same(actual, wanted, x)
    kernel_cases.assert_same(
        kernels.switch_gather2d(shifted, expected[1], *case.window, "last"),
        kernels.switch_gather2d(x, expected[1], *case.window, "last"),
        x,
    )


@layouts
def test_indices_outside_the_plane(kernels: EmulatedKernels, channels_last: bool):
    """They trip one device assertion each and write nothing; the other windows are as if they were not there."""
    x = in_layout(make_map((2, 3, 4, 5), torch.float32, seed=0, special=False), channels_last)
    indices = in_layout(torch.arange(20).view(4, 5).repeat(2, 3, 1, 1), channels_last)
    bad = indices.clone()
    bad[0, 1, 2, 3], bad[1, 0, 0, 0], bad[1, 2, 3, 4] = -1, 20, 2**40
    inside = (bad >= 0) & (bad < 20)

    kept = torch.where(inside, x, 0)
    actual = kernels.max_unpool2d(x, bad, (4, 5))
    assert kernels.failed_assertions() == 3
    kernel_cases.assert_same(actual, max_unpool2d_reference(kept, indices, (4, 5)), x)
    actual = kernels.max_gather2d(x, bad)
    assert kernels.failed_assertions() == 3
    kernel_cases.assert_same(actual, torch.where(inside, max_gather2d_reference(x, indices), 0), x)

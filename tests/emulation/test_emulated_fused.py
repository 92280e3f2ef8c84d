"""The CUDA kernels that apply bias or batch norm and ReLU before they pool, run on the CPU in every order of threads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checks import CHECKS
from emulation.build import missing
from emulation.emulated import EmulatedKernels
from kernel_cases import CASES, DTYPES, Case

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")

STEMS = [stem for stem in CHECKS if "relu" in stem]


@pytest.mark.parametrize("order", ["forward", "random"])
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_equals_reference(library: Path, order: str, stem: str, case: Case, dtype: torch.dtype, channels_last: bool):
    check, variants = CHECKS[stem]
    kernels = EmulatedKernels(library, order)
    for arguments in variants:
        check(getattr(kernels, stem), case, dtype, channels_last, *arguments)

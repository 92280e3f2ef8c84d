"""The CUDA kernels of the fused convolutions, run on the CPU in every order of threads, equal the definition to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conv_cases import CASES, CHECKS, ConvCase
from emulation.build import missing
from emulation.emulated import EmulatedKernels

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")

ORDERS = [("forward", 0), ("reverse", 0), ("random", 1), ("random", 2)]
stems = pytest.mark.parametrize("stem", CHECKS)
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@stems
@cases
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_equals_definition(library: Path, stem: str, case: ConvCase, dtype: torch.dtype):
    kernels = EmulatedKernels(library)
    kernels.bank_conflicts()
    CHECKS[stem](getattr(kernels, stem), case, dtype)
    assert kernels.bank_conflicts() == 0

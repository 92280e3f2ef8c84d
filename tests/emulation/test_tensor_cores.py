"""Asynchronous copies, ldmatrix and mma: a matrix product, and the faults that show in its values."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from emulation.build import missing
from emulation.emulated import EmulatedKernels, EmulationError
from emulation.faulty import FAULTS

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")

ORDERS = [("forward", 0), ("reverse", 0), ("random", 1), ("random", 2), ("random", 3)]
every_order = pytest.mark.parametrize("order", ORDERS, ids=str)


def product(kernels: EmulatedKernels, fault: str, dtype: torch.dtype, depth: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The product of two matrices, and what it should be: multiples of 1/64, whose sums do not round."""
    a, b = ((torch.randint(-16, 17, (rows, depth)) / 8).to(dtype) for rows in (64, 128))
    c = torch.empty(64, 128)
    kernels.call("gemm", dtype, FAULTS["gemm"].index(fault), a, b, c, depth, 128)
    return c, a.float() @ b.float().T


@every_order
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("depth", [32, 160])
def test_product(library: Path, order: tuple[str, int], dtype: torch.dtype, depth: int):
    kernels = EmulatedKernels(library, *order)
    kernels.bank_conflicts()
    actual, expected = product(kernels, "none", dtype, depth)
    assert torch.equal(actual, expected)
    assert kernels.bank_conflicts() == 0


@every_order
@pytest.mark.parametrize("fault", ["no_wait", "no_barrier_after_wait"])
def test_values_show_data_that_has_not_arrived(library: Path, order: tuple[str, int], fault: str):
    actual, _ = product(EmulatedKernels(library, *order), fault, torch.bfloat16, 160)
    assert actual.isnan().any()


def test_values_show_an_early_refill(library: Path):
    """Only where one warp runs far ahead of another."""
    outcomes = [product(EmulatedKernels(library, *order), "no_barrier_before_refill", torch.bfloat16, 160) for order in ORDERS]
    assert any(not torch.equal(actual, expected) for actual, expected in outcomes)


@pytest.mark.parametrize(
    ("fault", "words"), [("unfinished_copies", "unfinished copies"), ("misaligned_row", r"gemm.cuh:\d+: ldmatrix: .* not aligned")]
)
def test_broken_rules_are_errors(library: Path, fault: str, words: str):
    with pytest.raises(EmulationError, match=words):
        product(EmulatedKernels(library), fault, torch.bfloat16, 32)


def test_bank_conflicts_are_counted(library: Path):
    kernels = EmulatedKernels(library)
    kernels.bank_conflicts()
    actual, expected = product(kernels, "bank_conflicts", torch.bfloat16, 32)
    assert torch.equal(actual, expected)
    assert kernels.bank_conflicts() > 0

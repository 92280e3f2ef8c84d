"""Sums over the threads of a block: right, and the same bits in every order of threads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from emulation.build import missing
from emulation.emulated import EmulatedKernels

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")

ORDERS = [("forward", 0), ("reverse", 0), ("random", 1), ("random", 2), ("random", 3)]
WARPS = (1, 2, 5, 32) if "WWAE_EMULATION_LIBRARY" in os.environ else range(1, 33)  # a sanitizer takes longer
VALUES = 3  # as in sums.cuh


def inputs(*shape: int) -> torch.Tensor:
    """Sums of these round: another order of adding would show."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3.7


def sums(library: Path, order: tuple[str, int], x: torch.Tensor, columns: int, stem: str) -> torch.Tensor:
    output = torch.empty_like(x)
    EmulatedKernels(library, *order).call(stem, x, output, x.size(0), columns, x.size(1) // columns)
    return output


def in_block_order(x: torch.Tensor) -> torch.Tensor:
    """What reduce.cuh promises of block_sum: pairs at distance 16, 8 .. 1 in a warp, then the warps first to last."""
    lanes = x.unflatten(1, (-1, 32))
    for step in (16, 8, 4, 2, 1):
        lanes = lanes + lanes[:, :, torch.arange(32) ^ step]
    total = lanes[:, 0, 0]
    for warp in range(1, lanes.size(1)):
        total = total + lanes[:, warp, 0]
    return total


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("warps", WARPS)
def test_block_sum(library: Path, order: tuple[str, int], warps: int):
    x = inputs(2, 32 * warps, VALUES)
    for columns in {32 * warps, 8, 1}:
        expected = in_block_order(x)[:, None].expand(x.shape)
        assert torch.equal(sums(library, order, x, columns, "block_sum"), expected)


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("columns", [1, 2, 4, 32, 64, 256])
def test_column_sum(library: Path, order: tuple[str, int], columns: int):
    x = inputs(2, 256, VALUES)
    expected = x.unflatten(1, (-1, columns))
    while expected.size(1) > 1:
        half = expected.size(1) // 2
        expected = expected[:, :half] + expected[:, half:]
    actual = sums(library, order, x, columns, "column_sum").unflatten(1, (-1, columns))
    assert torch.equal(actual[:, :1], expected)

"""What lanes of a warp do together, primitive by primitive."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from emulation.build import missing
from emulation.emulated import EmulatedKernels, EmulationError

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")

every_order = pytest.mark.parametrize("order", [("forward", 0), ("reverse", 0), ("random", 1), ("random", 2)], ids=str)


@every_order
def test_copies_votes_and_shuffles(library: Path, order: tuple[str, int]):
    x = torch.arange(1.0, 65.0)
    output = torch.empty(6, 32)
    EmulatedKernels(library, *order).call("primitives", x, output)
    copied, filled, votes, following, shifted, crossed = output
    value = torch.where(torch.arange(32) < 7, x[:32], 0)
    assert torch.equal(copied, x[32:])
    assert torch.equal(filled, value)
    assert votes.tolist() == [0b1111000] * 32
    assert torch.equal(following, value.roll(-1))
    assert torch.equal(shifted, torch.cat([value[30:], value[2:]]))
    assert crossed[:16].tolist() == [value[lane ^ 1].item() for lane in range(16)]
    assert crossed[16:].tolist() == [x[lane ^ 2].item() for lane in range(16, 32)]


@every_order
def test_fragments_of_ldmatrix(library: Path, order: tuple[str, int]):
    x = torch.arange(4 * 8 * 8, dtype=torch.int16).view(4, 8, 8)
    output = torch.zeros(6, 32, 4, dtype=torch.int32)
    EmulatedKernels(library, *order).call("ldmatrix", x, output)
    halves = output.view(torch.int16).view(6, 32, 4, 2)
    forms = [(count, transposed) for transposed in (False, True) for count in (1, 2, 4)]
    for form, (count, transposed) in zip(halves, forms, strict=True):
        for matrix in range(count):
            source = x[matrix].T if transposed else x[matrix]
            assert torch.equal(form[:, matrix].reshape(8, 8), source)


def test_a_block_that_is_no_whole_number_of_warps_has_no_full_mask(library: Path):
    x = torch.zeros(1, 48, 3)
    with pytest.raises(
        EmulationError, match=r"reduce.cuh:\d+: shuffle_xor: mask 0xffffffff names lanes 0xffff0000, which the block has not"
    ):
        EmulatedKernels(library).call("block_sum", x, torch.empty_like(x), 1, 48, 1)


def test_a_block_has_at_most_1024_threads(library: Path):
    x = torch.zeros(1, 2048, 3)
    with pytest.raises(EmulationError, match="a block of 2048 threads: expected 1 to 1024"):
        EmulatedKernels(library).call("block_sum", x, torch.empty_like(x), 1, 2048, 1)

"""Faults planted in the fused convolutions are found, each by the build that is there to find it.

A fault is a change to the text of a header; the kernel is built with it, and held to what the kernel is held to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from emulation import bare
from emulation.build import build_mutant, missing
from emulation.emulated import EmulatedKernels
from emulation.sanitizers import run, unavailable
from emulation.test_emulated_convolutions import TILES, arguments_of, check

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")

GEMM = "implicit_gemm.cuh"
GRADIENT = "unpool_conv2d_weight_backward.cuh"
WAIT, BARRIER = "dev::cp_async_wait<0>();", "dev::sync_threads();"
# The loop over steps, and the one over tiles of pixels.
LOOPS = {"conv_relu_pool2d": (GEMM, 6), "unpool_conv2d_weight_backward": (GRADIENT, 4)}


class Fault(NamedTuple):
    stem: str
    header: str
    old: str
    new: str
    tile: str


def in_loop(stem: str, new: str, tile: str = "two chunks, rectangle") -> Fault:
    """In place of waiting for copies, then for all threads."""
    header, indent = LOOPS[stem]
    return Fault(stem, header, f"{WAIT}\n{' ' * indent}{BARRIER}", new, tile)


# Found by a value in every order of threads.
IN_VALUES = {
    "late wait for a step": in_loop("conv_relu_pool2d", BARRIER + WAIT),
    "late wait for a tile": in_loop("unpool_conv2d_weight_backward", BARRIER + WAIT),
    "halo one line further": Fault("conv_relu_pool2d", "conv_relu_pool2d.cuh", "pixels.h + row", "pixels.h + row + 1", "one tile"),
    "halo without its last line": Fault(
        "unpool_conv2d", GEMM, "return patch_width() * (kTileSide + kernel_h - 1)", "return patch_width() * kTileSide", "one tile"
    ),
    "no mask of the last channels": Fault(
        "conv_relu_pool2d",
        GEMM,
        "const bool inside = real && channel < channels;",
        "const bool inside = real;",
        "two chunks, rectangle",
    ),
    "first of the windows that overlap": Fault(
        "unpool_conv2d",
        "unpooled_patch.cuh",
        "oh = rows.begin; oh < rows.end; ++oh",
        "oh = rows.end - 1; oh >= rows.begin; --oh",
        "pool 3x3",
    ),
    "one column of taps twice": Fault(
        "unpool_conv2d_weight_backward",
        GRADIENT,
        "* kGradientPatchSide + tap % kGradientTaps",
        "* kGradientPatchSide + tap % 2",
        "one tile",
    ),
}
# Found by a value in some order.
IN_ORDERS = {
    "no barrier in the loop": in_loop("conv_relu_pool2d", WAIT),
    "one patch": Fault(
        "unpool_conv2d", GEMM, "shared + (number & 1) * patch_elements", "shared + 0 * number", "two chunks, rectangle"
    ),
    "no barrier between tiles": in_loop("unpool_conv2d_weight_backward", WAIT),
}
ORDERS = [("forward", 0), ("reverse", 0), *(("random", seed) for seed in range(4))]


def fails(library: Path, fault: Fault, order: tuple[str, int]) -> bool:
    try:
        check(EmulatedKernels(library, *order), fault.stem, arguments_of(fault.stem, TILES[fault.tile], torch.bfloat16))
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("fault", IN_VALUES.values(), ids=IN_VALUES.keys())
def test_values_show_it(tmp_path: Path, fault: Fault):
    assert fails(build_mutant("plain", tmp_path, *fault[:4]), fault, ("forward", 0))


@pytest.mark.parametrize("fault", IN_ORDERS.values(), ids=IN_ORDERS.keys())
def test_values_show_it_in_some_order(tmp_path: Path, fault: Fault):
    library = build_mutant("plain", tmp_path, *fault[:4])
    assert any(fails(library, fault, order) for order in ORDERS)


@pytest.mark.parametrize(
    ("stem", "old", "new"),
    [
        ("conv_relu_pool2d", "line >> 1 & 3", "line & 3"),
        ("unpool_conv2d", "vector ^ turn", "vector ^ 0 * turn"),
        ("unpool_conv2d_weight_backward", "line & 7", "line >> 1 & 7"),
    ],
)
def test_a_wrong_swizzle_meets_bank_conflicts(tmp_path: Path, stem: str, old: str, new: str):
    """The values are right."""
    kernels = EmulatedKernels(build_mutant("plain", tmp_path, stem, GEMM, old, new))
    kernels.bank_conflicts()
    getattr(kernels, stem)(*arguments_of(stem, TILES["one tile"], torch.bfloat16))
    assert kernels.bank_conflicts() > 0


class Recorded(EmulatedKernels):
    """Describes the arguments of a call instead of calling."""

    def __init__(self) -> None:
        self.arguments = ""

    def call(self, stem: str, *arguments: Any) -> None:
        self.arguments = bare.described(arguments)


def words_of(name: str, folder: Path, fault: Fault) -> str:
    """What a sanitizer says of the kernel with the fault."""
    if (reason := unavailable(name)) is not None:
        pytest.skip(reason)
    recorded = Recorded()
    getattr(recorded, fault.stem)(*arguments_of(fault.stem, TILES[fault.tile], torch.bfloat16))
    library = build_mutant(name, folder, *fault[:4])
    result = run(name, str(bare.__file__), fault.stem, recorded.arguments, library=library)
    return result.stdout + result.stderr


@pytest.mark.parametrize(
    "fault",
    [
        Fault("conv_relu_pool2d", GEMM, "real = output < conv.outputs;", "real = true;", "two chunks, rectangle"),
        Fault("conv_relu_pool2d", "conv_relu_pool2d.cuh", "h < conv.height", "h <= conv.height", "one tile"),
        Fault("unpool_conv2d", "gemm_epilogue.cuh", "if (channel < channels) store", "store", "two chunks, rectangle"),
    ],
    ids=["lines beyond the last weight", "a line below the map", "channels beyond the last result"],
)
def test_address_sanitizer_finds_it(tmp_path: Path, fault: Fault):
    assert "AddressSanitizer: heap-buffer-overflow" in words_of("sanitized", tmp_path, fault)


@pytest.mark.parametrize(
    "fault", [IN_ORDERS["no barrier in the loop"], IN_ORDERS["no barrier between tiles"]], ids=lambda f: f.stem
)
def test_thread_sanitizer_finds_races(tmp_path: Path, fault: Fault):
    assert "WARNING: ThreadSanitizer: data race" in words_of("threads", tmp_path, fault._replace(tile="half vector"))


@pytest.mark.parametrize("name", ["sanitized", "threads"])
def test_without_fault_they_are_content(tmp_path: Path, name: str):
    same = Fault("conv_relu_pool2d", GEMM, "#pragma once", "#pragma once", "half vector")
    assert words_of(name, tmp_path, same) == "\n"

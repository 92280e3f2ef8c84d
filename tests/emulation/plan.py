"""What the launchers of csrc/cuda decide: which kernel runs, on which grid. Nothing runs, so maps may be as large as on a GPU."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from emulation.emulated import EmulatedKernels


class PlannedLaunch(NamedTuple):
    """``kernel`` is the name that the linker has for it, ``shared_bytes`` the dynamic shared memory of a block."""

    kernel: str
    blocks: int
    threads: int
    shared_bytes: int


def planned_launches(library: Path, call: Callable[[EmulatedKernels], Any]) -> list[PlannedLaunch]:
    """The launches of ``call(kernels)``, in their order. Its tensors lie on the meta device: their memory counts as aligned."""
    kernels = EmulatedKernels(library)
    kernels.library.emulation_planned.restype = ctypes.c_int64
    kernels.library.emulation_plan_only(ctypes.c_int64(1))
    try:
        with torch.device("meta"):
            call(kernels)
    finally:
        kernels.library.emulation_plan_only(ctypes.c_int64(0))
    listed = subprocess.run(["nm", str(library)], capture_output=True, text=True, check=True).stdout
    symbols = {int(words[0], 16): words[2] for words in map(str.split, listed.splitlines()) if len(words) == 3}
    found, launch = [], (ctypes.c_int64 * 4)()
    while kernels.library.emulation_planned(launch):
        address, blocks, threads, shared_bytes = launch
        found.append(PlannedLaunch(symbols[address], blocks, threads, shared_bytes))
    return found


def convolution_tile(library: Path) -> tuple[int, ...]:
    """(height, width, channels, depth) of a tile of implicit_gemm.cuh."""
    return _lengths(library, "emulation_convolution_tile", 4)


def weight_gradient_tile(library: Path) -> tuple[int, ...]:
    """(output channels, input channels, pixels of a step) of unpool_conv2d_weight_backward.cuh."""
    return _lengths(library, "emulation_weight_gradient_tile", 3)


def _lengths(library: Path, function: str, count: int) -> tuple[int, ...]:
    lengths = (ctypes.c_int64 * count)()
    getattr(ctypes.CDLL(str(library)), function)(lengths)
    return tuple(lengths)

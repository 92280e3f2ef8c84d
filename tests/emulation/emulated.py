"""The CUDA kernels of csrc/cuda, built by the host compiler and run thread by thread on the CPU.

`EmulatedKernels` has one method an operation, with the signature of its backend functions: which kernel runs, on which
grid, is decided by the very functions that decide on a GPU.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from wwae.reference.window import memory_format

DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
OVERLAPS = {"last": 0, "sum": 1, "mean": 2}
ORDERS = {"forward": 0, "reverse": 1, "random": 2}


def geometry(size: Sequence[int], windows: Sequence[int], *window: Sequence[int]) -> tuple[int, ...]:
    """What `geometry_of` of entry.h takes; `window` is kernel_size, stride, padding, dilation."""
    return tuple(length for axis in zip(size, windows, *window, strict=True) for length in axis)


def interleaving(x: Tensor) -> tuple[int, int]:
    """(images, channels) as tile.cuh has them."""
    channels_last = memory_format(x) == torch.channels_last
    return (x.size(0), x.size(1)) if channels_last else (x.size(0) * x.size(1), 1)


class EmulationError(Exception):
    """A kernel broke a rule of CUDA (see emulation.h), at the file and line that the message names."""


class Traffic(NamedTuple):
    """Bytes between the kernels and one tensor; `moved` counts whole 32-byte sectors, once a launch."""

    size: int
    loads_requested: int
    stores_requested: int
    loads_moved: int
    stores_moved: int

    @property
    def requested(self) -> int:
        return self.loads_requested + self.stores_requested

    @property
    def moved(self) -> int:
        return self.loads_moved + self.stores_moved


class EmulatedKernels:
    """`EmulatedKernels(library).<stem>(...)` is the function of that name in kernels/<stem>.py.

    Threads run in the given order, one of ORDERS; `seed` chooses a random one. `wide_owners` keeps int64 owners in
    max_unpool2d; pools record offsets of `offset_dtype`, or the smallest that fit. `traffic` grows by the tensors of each
    call, with what was counted in the build "counted".
    """

    def __init__(self, library: Path, order: str = "forward", seed: int = 0, wide_owners: bool = False) -> None:
        self.library = ctypes.CDLL(str(library))
        self.library.emulation_failed_assertions.restype = ctypes.c_int64
        self.library.emulation_bank_conflicts.restype = ctypes.c_int64
        self.library.emulation_error.restype = ctypes.c_char_p
        self.order = (ORDERS[order], seed)
        self.wide_owners = wide_owners
        self.offset_dtype: torch.dtype | None = None
        self.traffic: list[Traffic] = []

    def __getattr__(self, stem: str) -> Callable[..., Any]:
        try:
            module = importlib.import_module(f"emulation.kernels.{stem}")
        except ModuleNotFoundError as error:
            raise AttributeError(f"tests/emulation/kernels has no {stem}.py") from error
        return functools.partial(getattr(module, stem), self)

    def call(self, stem: str, *arguments: Any) -> None:
        """Call `emulate_<stem>` of kernels/<stem>.cpp: tensors and None as pointers, dtypes as codes, ints as int64_t,
        floats as double, sequences of ints as arrays of int64_t. Raises EmulationError for what the emulation finds."""
        self.library.emulation_set_order(*map(_as_c, self.order))
        for tensor in arguments:
            if isinstance(tensor, Tensor) and not tensor.is_meta:
                self.library.emulation_watch(_as_c(tensor), ctypes.c_int64(tensor.nbytes))
        getattr(self.library, f"emulate_{stem}")(*map(_as_c, arguments))
        counts = (ctypes.c_int64 * 5)()
        while self.library.emulation_unwatch(counts):
            self.traffic.append(Traffic(*counts))
        if error := self.library.emulation_error():
            if (words := error.decode()).endswith("beside ThreadSanitizer"):
                pytest.skip(words)
            raise EmulationError(words)

    def failed_assertions(self) -> int:
        """How many device assertions failed since the last call."""
        return self.library.emulation_failed_assertions()

    def bank_conflicts(self) -> int:
        """How often two rows of one ldmatrix lay in the same banks of shared memory since the last call."""
        return self.library.emulation_bank_conflicts()


def _as_c(value: Any) -> Any:
    if value is None:
        return ctypes.c_void_p(None)
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    if isinstance(value, torch.dtype):
        return ctypes.c_int64(DTYPES[value])
    if isinstance(value, float):
        return ctypes.c_double(value)
    if isinstance(value, int):
        return ctypes.c_int64(value)
    return (ctypes.c_int64 * len(value))(*value)

"""The CUDA kernels of csrc/cuda, built by the host compiler and run thread by thread on the CPU.

`HostKernels` has one method an operation, with the operation's signature; which kernel runs, on which grid, is decided
by the very functions that decide on a GPU.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from wwae.reference.window import memory_format, offset_dtype, pooled_sizes

ROOT = Path(__file__).parents[2]
DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
OVERLAPS = {"last": 0, "sum": 1, "mean": 2}

# -fno-strict-aliasing: vectors are read through uint4; -ftrivial-auto-var-init: a register that is never written shows.
FLAGS = [
    "-std=c++20", "-g", "-shared", "-fPIC", "-fno-strict-aliasing", "-ffp-contract=off",
    "-ftrivial-auto-var-init=pattern", "-fvisibility=default", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas",
]  # fmt: skip
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]


def cuda_headers() -> Path | None:
    """A folder with cuda_bf16.h: of the toolkit whose nvcc is on PATH, or of NVIDIA's packages that come with PyTorch."""
    folders = [Path(os.environ["CUDA_HOME"], "include")] if "CUDA_HOME" in os.environ else []
    if nvcc := shutil.which("nvcc"):
        report = subprocess.run([nvcc, "--dryrun", "-x", "cu", "/dev/null"], capture_output=True, text=True).stderr
        folders += [Path(found) for found in re.findall(r'"?-I([^" ]+)', report)]
    if packages := importlib.util.find_spec("nvidia"):
        folders += [found for place in packages.submodule_search_locations or [] for found in Path(place).glob("*/include")]
    return next((folder for folder in folders if (folder / "cuda_bf16.h").exists()), None)


def build(folder: Path, sanitize: bool) -> Path:
    """Compile the kernels into `folder`, unless another process has done so."""
    library = folder / "libhost_kernels.so"
    with (folder / "libhost_kernels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            headers = cuda_headers()
            assert headers is not None
            compiler = os.environ.get("CXX", "g++")
            includes = [f"-I{ROOT / 'csrc'}", f"-I{Path(__file__).parent}", "-isystem", str(headers)]
            # The sanitizers' own code takes an optimiser long; unoptimised code is fast enough for small maps.
            optimise = ["-O0", *SANITIZERS] if sanitize else ["-O1"]
            source = Path(__file__).with_suffix(".cpp")
            unfinished = library.with_suffix(".new")
            subprocess.run([compiler, *FLAGS, *optimise, *includes, str(source), "-o", str(unfinished)], check=True)
            unfinished.rename(library)
    return library


def pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def integers(*values: int) -> ctypes.Array:
    return (ctypes.c_int32 * len(values))(*values)


class HostKernels:
    """Runs threads first to last, or last to first, and keeps int64 owners in max_unpool2d when asked to.

    Pools record the smallest offsets that fit, or those of `offset_dtype`.
    """

    def __init__(self, library: Path, backwards: bool = False, wide_owners: bool = False) -> None:
        self.library = ctypes.CDLL(str(library))
        self.library.failed_assertions.restype = ctypes.c_int64
        self.backwards = backwards
        self.wide_owners = wide_owners
        self.offset_dtype: torch.dtype | None = None

    def failed_assertions(self) -> int:
        """How many device assertions failed since the last call."""
        return self.library.failed_assertions()

    def _geometry(self, size, windows, kernel_size, stride, padding, dilation) -> ctypes.Array:
        axes = zip(size, windows, kernel_size, stride, padding, dilation, strict=True)
        return integers(*(length for axis in axes for length in axis))

    def _interleaving(self, x: Tensor) -> tuple[ctypes.c_int64, ctypes.c_int64]:
        channels_last = memory_format(x) == torch.channels_last
        images, channels = (x.size(0), x.size(1)) if channels_last else (x.size(0) * x.size(1), 1)
        return ctypes.c_int64(images), ctypes.c_int64(channels)

    def _pool(self, x: Tensor, window: Sequence, ceil_mode: bool, with_indices: bool) -> tuple[Tensor, ...]:
        layout = memory_format(x)
        windows = pooled_sizes(x.shape[-2:], *window, ceil_mode)
        size = (*x.shape[:2], *windows)
        values = torch.empty(size, dtype=x.dtype, memory_format=layout)
        indices = torch.empty(size, dtype=torch.int64, memory_format=layout)
        offsets = torch.empty(size, dtype=self.offset_dtype or offset_dtype(window[0]), memory_format=layout)
        geometry = self._geometry(x.shape[-2:], windows, *window)
        self.library.switch_pool2d(
            self.backwards, DTYPES[x.dtype], offsets.element_size(), pointer(x), pointer(values), pointer(offsets),
            pointer(indices) if with_indices else None, geometry, *self._interleaving(x),
        )  # fmt: skip
        return (values, indices, offsets) if with_indices else (values, offsets)

    def switch_pool2d(self, x, kernel_size, stride, padding, dilation, ceil_mode):
        return self._pool(x, (kernel_size, stride, padding, dilation), ceil_mode, with_indices=False)

    def max_pool2d(self, x, kernel_size, stride, padding, dilation, ceil_mode):
        return self._pool(x, (kernel_size, stride, padding, dilation), ceil_mode, with_indices=True)

    def switch_unpool2d(self, x, offsets, kernel_size, stride, padding, dilation, output_size, overlap):
        layout = memory_format(x)
        offsets = offsets.contiguous(memory_format=layout)
        output = torch.empty((*x.shape[:2], *output_size), dtype=x.dtype, memory_format=layout)
        geometry = self._geometry(output_size, x.shape[-2:], kernel_size, stride, padding, dilation)
        self.library.switch_unpool2d(
            self.backwards, DTYPES[x.dtype], offsets.element_size(), pointer(x), pointer(offsets), pointer(output),
            geometry, *self._interleaving(x), OVERLAPS[overlap],
        )  # fmt: skip
        return output

    def switch_gather2d(self, x, offsets, kernel_size, stride, padding, dilation, overlap):
        layout = memory_format(x)
        offsets = offsets.contiguous(memory_format=layout)
        output = torch.empty(offsets.shape, dtype=x.dtype, memory_format=layout)
        geometry = self._geometry(x.shape[-2:], offsets.shape[-2:], kernel_size, stride, padding, dilation)
        # As the host function does: disjoint windows never meet.
        axes = zip(kernel_size, stride, dilation, strict=True)
        disjoint = all(step >= (kernel - 1) * dilated + 1 for kernel, step, dilated in axes)
        self.library.switch_gather2d(
            self.backwards, DTYPES[x.dtype], offsets.element_size(), pointer(x), pointer(offsets), pointer(output),
            geometry, *self._interleaving(x), OVERLAPS["sum" if disjoint else overlap],
        )  # fmt: skip
        return output

    def fixed_unpool2d(self, x, stride, position, output_size):
        output = torch.empty((*x.shape[:2], *output_size), dtype=x.dtype, memory_format=memory_format(x))
        sizes = integers(*output_size, *x.shape[-2:], *stride, *position)
        self.library.fixed_unpool2d(self.backwards, DTYPES[x.dtype], pointer(x), pointer(output), sizes, *self._interleaving(x))
        return output

    def _planes(self, windows: Tensor, full: Tensor) -> list[ctypes.c_int64]:
        return [ctypes.c_int64(tensor.size(2) * tensor.size(3)) for tensor in (windows, full)]

    def max_unpool2d(self, x, indices, output_size):
        layout = memory_format(x)
        indices = indices.contiguous(memory_format=layout)
        output = torch.empty((*x.shape[:2], *output_size), dtype=x.dtype, memory_format=layout)
        self.library.max_unpool2d(
            self.backwards, self.wide_owners, DTYPES[x.dtype], pointer(x), pointer(indices), pointer(output),
            *self._planes(x, output), *self._interleaving(x),
        )  # fmt: skip
        return output

    def max_gather2d(self, x, indices):
        layout = memory_format(x)
        indices = indices.contiguous(memory_format=layout)
        output = torch.empty(indices.shape, dtype=x.dtype, memory_format=layout)
        self.library.max_gather2d(
            self.backwards, self.wide_owners, DTYPES[x.dtype], pointer(x), pointer(indices), pointer(output),
            *self._planes(indices, x), *self._interleaving(x),
        )  # fmt: skip
        return output

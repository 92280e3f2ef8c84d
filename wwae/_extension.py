"""Loads the compiled kernel libraries and remembers why one is missing.

The libraries register implementations of operators whose schemas Python defines, so `cpu_library` and `cuda_library` are
called once the schemas exist. `wwae` works without either: operations then run on Triton or on the reference. `autograd_library`
holds no kernel: without it pooling is called and differentiated through Python, as all other operations are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import torch

_DIRECTORY = Path(__file__).parent / "_lib"

# Instruction-set level of the CPU library for each capability PyTorch reports; all others take the baseline.
_LEVELS = {"AVX512": "avx512", "AVX2": "avx2"}


@dataclass(frozen=True)
class Library:
    """A kernel library, loaded or not.

    Attributes:
        name: `"cpu"`, `"cuda"` or `"autograd"`.
        level: instruction set of the loaded CPU library (`"baseline"`, `"avx2"`, `"avx512"`), compute capabilities of
            the loaded CUDA library (`"80,86,89,90"`), PyTorch of the autograd library (`"2.14.1"`), None when the
            library is not loaded.
        reason: why the library is not loaded, in words; None when it is.
        cause: the exception that stopped loading, if there was one.
    """

    name: str
    level: str | None = None
    reason: str | None = None
    cause: Exception | None = None

    def require(self) -> None:
        """Raises RuntimeError with the reason and the versions at hand, unless the library is loaded."""
        if self.reason is None:
            return
        raise RuntimeError(
            f"wwae: the {self.name} kernels are not available: {self.reason} "
            f"(wwae {build_info().get('version', 'not built')}, torch {torch.__version__}, CUDA {torch.version.cuda}). "
            "The plain PyTorch definition of every operation is WWAE_BACKEND=reference"
        ) from self.cause


def build_info() -> dict[str, str]:
    """What `wwae._C` knows about this build; empty in a source tree that was never built."""
    try:
        return import_module("wwae._C").build_info()
    except ImportError:
        return {}


@cache
def cpu_library() -> Library:
    """Loads the CPU library of the level that PyTorch itself uses; ATEN_CPU_CAPABILITY lowers both."""
    level = _LEVELS.get(torch.backends.cpu.get_cpu_capability(), "baseline")
    path = _DIRECTORY / f"libwwae_cpu_{level}.so"
    if not path.exists():
        return Library("cpu", reason="not built: run `pip install -e .` in the source tree")
    return _load("cpu", path, level)


@cache
def cuda_library() -> Library:
    """Loads the CUDA library where this PyTorch has CUDA; a GPU is not needed for that."""
    if torch.version.cuda is None:
        return Library("cuda", reason="this PyTorch was built without CUDA")
    path = _DIRECTORY / "libwwae_cuda.so"
    if not path.exists():
        left_out = build_info().get("cuda_left_out") or "run `pip install -e .` in the source tree"
        return Library("cuda", reason=f"not built: {left_out}")
    return _load("cuda", path, build_info().get("cuda_archs", "unknown"))


@cache
def autograd_library() -> Library:
    """Loads `wwae._autograd` where this PyTorch is the one it was built with: it uses more than the stable ABI."""
    built_with, here = build_info().get("torch"), torch.__version__.partition("+")[0]
    if built_with is None:
        return Library("autograd", reason="not built: run `pip install -e .` in the source tree")
    if built_with != here:
        return Library("autograd", reason=f"built with PyTorch {built_with}, this is {here}; installing wwae again builds it")
    try:
        import_module("wwae._autograd")
    except ImportError as error:
        return Library("autograd", reason=f"wwae._autograd failed to load: {error}", cause=error)
    return Library("autograd", level=here)


def _load(name: str, path: Path, level: str) -> Library:
    try:
        torch.ops.load_library(path)
    except Exception as error:  # whatever stops it, the package has to import; `require` raises with the cause
        return Library(name, reason=f"{path.name} failed to load: {error}", cause=error)
    return Library(name, level=level)

"""Which implementation of an operation runs: what exists here, what is chosen, and why not the others.

``"auto"`` takes for each device the fastest implementation that can run there; on a GPU, of the operations with a convolution, the
one that was fastest when the shape was first seen (``_fastest.py``). :func:`use_backend` and ``WWAE_BACKEND`` force
one; a forced backend that cannot run raises. The choice is made where PyTorch dispatches ``wwae::<operation>``, so it holds for
backward, for compiled code and for direct calls of ``torch.ops.wwae`` alike, in all threads of the process.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from wwae import _extension
from wwae.ops._compositions import COMPOSITIONS, fused_conv_relu_pool2d_backward
from wwae.ops._fastest import COMPOSITION, fastest, gpu_choices, gpu_comparable, gpu_may_measure, gpu_seconds
from wwae.ops._library import LIBRARY, OPERATIONS

__all__ = ["BACKENDS", "backends", "show_backends", "use_backend"]

BACKENDS = ("reference", "cpu", "triton", "cuda")
"""Names of the backends: plain PyTorch, and the C++, Triton and CUDA kernels."""

# Fastest first; the reference runs everywhere.
_PREFERENCE = {"cpu": ("cpu", "reference"), "cuda": ("cuda", "triton", "reference")}
_PYTHON_PACKAGES = {"reference": "wwae.reference", "triton": "wwae.triton_kernels"}
_KEYS = {"cpu": "CPU", "cuda": "CUDA"}
# Operations that run on the kernels of others, in the Triton and CUDA backends.
_KERNELS_OF = {"conv_relu_pool2d_backward": ("unpool_conv2d", "unpool_conv2d_weight_backward")}
# Operations whose dispatch key the loaded libraries implement, before a fallback or a forced backend is put there.
_compiled: dict[str, frozenset[str]] = {"cpu": frozenset(), "cuda": frozenset()}
# The CUDA library's convolutions, behind which "auto" has put the choice by measurement.
_convolution_kernels: dict[str, Callable[..., Any]] = {}


def _unavailable(backend: str, operation: str, device: str) -> str | None:
    """Why ``backend`` can't run ``operation`` on tensors of ``device``, in words; None where it can."""
    if backend == "reference":
        return None
    if backend in ("cpu", "cuda"):
        if backend != device:
            return f"the {backend.upper()} kernels take tensors of device '{backend}' only"
        library = _extension.cpu_library() if backend == "cpu" else _extension.cuda_library()
        if library.reason is not None:
            return library.reason
        if (backend == "cpu" and operation in COMPOSITIONS) or _compiled[backend].issuperset(
            _KERNELS_OF.get(operation, (operation,))
        ):
            return None
        return "not in the loaded library, which was built from another version"
    for package in ("triton", "wwae.triton_kernels"):
        if importlib.util.find_spec(package) is None:
            return f"the package {package} is not installed"
    for kernel in _KERNELS_OF.get(operation, (operation,)):
        if importlib.util.find_spec(f"wwae.triton_kernels.{kernel}") is None:
            return f"the package wwae.triton_kernels has no {kernel}"
    if device == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        return "needs a GPU; on the CPU Triton's interpreter runs it when TRITON_INTERPRET=1 is set"
    return None


def _unavailable_here(backend: str, operation: str) -> str | None:
    """Why ``backend`` can run ``operation`` on no device of this machine; None where it can on some."""
    if backend in _KEYS:
        reason = _unavailable(backend, operation, backend)
        return "built and loaded, but no GPU was found" if reason is None and backend not in _devices() else reason
    reasons = [_unavailable(backend, operation, device) for device in _devices()]
    return None if None in reasons else reasons[-1]


def _implementation(backend: str, operation: str) -> Callable[..., Any]:
    if backend == "cpu":
        return COMPOSITIONS[operation]
    if backend != "reference" and operation in _KERNELS_OF:
        return fused_conv_relu_pool2d_backward
    if backend == "cuda":
        return _convolution_kernels[operation]
    module = importlib.import_module(f"{_PYTHON_PACKAGES[backend]}.{operation}")
    return getattr(module, f"{operation}_{backend}")


def _devices() -> tuple[str, ...]:
    return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


def _automatic(operation: str, device: str) -> str:
    if operation in COMPOSITIONS and device == "cuda":
        return "measured"
    return next(backend for backend in _PREFERENCE[device] if _unavailable(backend, operation, device) is None)


def _refusal(backend: str, operation: str, reason: str) -> Callable[..., Any]:
    def refuse(*_arguments: Any) -> Any:
        raise RuntimeError(f"{operation}: backend '{backend}' was forced but cannot run here: {reason}")

    return refuse


def _install(library: torch.library.Library, backend: str) -> None:
    """Put ``backend`` behind every operation and device, or an error where it cannot run."""
    for operation in OPERATIONS:
        for device, key in _KEYS.items():
            reason = _unavailable(backend, operation, device)
            if reason is not None:
                library.impl(operation, _refusal(backend, operation, reason), key, allow_override=True)
            elif backend in _PYTHON_PACKAGES or operation in COMPOSITIONS:
                library.impl(operation, _implementation(backend, operation), key, allow_override=True)


def _require_known(backend: str) -> None:
    if backend not in (*BACKENDS, "auto"):
        near = difflib.get_close_matches(str(backend), (*BACKENDS, "auto"), n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise ValueError(f"use_backend: expected one of 'auto', 'reference', 'cpu', 'triton', 'cuda', got {backend!r}{hint}")


@contextmanager
def use_backend(backend: str) -> Iterator[None]:
    """Force a backend for every operation inside the ``with`` block; ``"auto"`` takes the choice back.

    Args:
        backend (str): ``"reference"``, ``"cpu"``, ``"triton"``, ``"cuda"`` or ``"auto"``.

    The choice holds for the whole process. Inside, an operation on a device where the backend cannot run raises.

    Raises:
        ValueError: for an unknown backend.
        RuntimeError: if the backend can run on no device of this machine; the message says why.

    Example:
        >>> with wwae.use_backend("reference"):
        ...     values, switches = wwae.ops.switch_pool2d(torch.randn(1, 1, 4, 4), 2)
    """
    _require_known(backend)
    if backend != "auto":
        reason = _unavailable_here(backend, OPERATIONS[0])
        if reason is not None:
            raise RuntimeError(f"use_backend: backend '{backend}' cannot run here: {reason}")
    block = [backend]
    _open_blocks.append(block)
    _apply()
    try:
        yield
    finally:
        # Not always the last one: blocks of several threads end in any order.
        _open_blocks[:] = [each for each in _open_blocks if each is not block]
        _apply()


_open_blocks = [["auto"]]
_override: torch.library.Library | None = None


def _forced() -> str:
    """What the block that was opened last, or the environment, asks for."""
    return _open_blocks[-1][0]


def _apply() -> None:
    """Exchange what stands in front of the automatic choice."""
    global _override
    backend = _forced()
    if _override is not None:
        _override._destroy()
        _override = None
    if backend != "auto":
        _override = torch.library.Library("wwae", "IMPL")
        _install(_override, backend)


def backends() -> dict[str, dict[str, Any]]:
    """What exists here, for each operation.

    Returns:
        ``{operation: {"reference": None | reason, "cpu": …, "triton": …, "cuda": …, "auto": {device: backend}}}``: None where the
        backend can run on some device of this machine, else the reason in words; ``"auto"`` names the backend chosen for each
        device of this machine (the forced one, while one is forced), ``"measured"`` where each shape gets the fastest.
    """
    table: dict[str, dict[str, Any]] = {}
    for operation in sorted(OPERATIONS):
        row: dict[str, Any] = {backend: _unavailable_here(backend, operation) for backend in BACKENDS}
        row["auto"] = {device: _automatic(operation, device) if _forced() == "auto" else _forced() for device in _devices()}
        table[operation] = row
    return table


def show_backends() -> None:
    """Print :func:`backends` as a table, with the versions and libraries behind it, and on a GPU what was measured, and chosen."""
    table = backends()
    build = _extension.build_info()
    cpu, cuda, autograd = _extension.cpu_library(), _extension.cuda_library(), _extension.autograd_library()
    print(f"wwae {build.get('version', '(not built)')}, torch {torch.__version__}, CUDA of torch: {torch.version.cuda or 'none'}")
    print(f"CPU kernels:  {cpu.reason or 'instruction set ' + str(cpu.level)}, {torch.get_num_threads()} threads")
    print(f"CUDA kernels: {cuda.reason or 'built for compute capabilities ' + str(cuda.level)}")
    print(f"Calls of pooling in eager mode: {'through Python: ' + autograd.reason if autograd.reason else 'through C++'}")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none found"
    print(f"GPU: {gpu}")
    if _forced() != "auto":
        print(f"Forced backend: {_forced()}")
    width = max(map(len, table))
    print(f"\n{'operation':<{width}}  " + "  ".join(f"{backend:<9}" for backend in BACKENDS) + "  chosen")
    for operation, row in table.items():
        marks = "  ".join(f"{'yes' if row[backend] is None else 'no':<9}" for backend in BACKENDS)
        print(f"{operation:<{width}}  {marks}  " + ", ".join(f"{device}: {name}" for device, name in row["auto"].items()))
    reasons: dict[str, list[str]] = {}
    for operation, row in table.items():
        for backend in BACKENDS:
            if row[backend] is not None:
                reasons.setdefault(f"{backend}: {row[backend]}", []).append(operation)
    if reasons:
        print("\nWhy not:")
        for reason, operations in reasons.items():
            print(f"  {reason}" + ("" if len(operations) == len(table) else f" ({', '.join(operations)})"))
    for number in range(torch.cuda.device_count()):
        choices = gpu_choices(torch.device("cuda", number))
        print(f"\nMeasured on {choices.environment['gpu']} ({choices.path}):")
        for call, choice in choices:
            print(f"  {call}\n    {choice}")


def _start() -> None:
    """Load the libraries, fill the gaps they leave, and obey ``WWAE_BACKEND``."""
    libraries = {"cpu": _extension.cpu_library(), "cuda": _extension.cuda_library()}
    for device, library in libraries.items():
        if library.reason is None:
            _compiled[device] = frozenset(
                name for name in OPERATIONS if torch._C._dispatch_has_kernel_for_dispatch_key(f"wwae::{name}", _KEYS[device])
            )
    _convolution_kernels.update({name: _kept(name) for name in COMPOSITIONS if name in _compiled["cuda"]})
    for operation in OPERATIONS:
        for device, key in _KEYS.items():
            backend = _automatic(operation, device)
            if backend == "measured":
                LIBRARY.impl(operation, _measured(operation), key, allow_override=True)
            elif backend in _PYTHON_PACKAGES or operation in COMPOSITIONS:
                LIBRARY.impl(operation, _lazily(backend, operation), key)
    forced = os.environ.get("WWAE_BACKEND", "auto")
    _require_known(forced)
    if forced != "auto":
        _open_blocks[0] = [forced]
        _apply()


def _measured(operation: str) -> Callable[..., Any]:
    """The fastest of what can run a convolution on a GPU."""
    implementations = {COMPOSITION: COMPOSITIONS[operation]}
    for backend in ("cuda", "triton"):
        if _unavailable(backend, operation, "cuda") is None:
            implementations["fused" if operation in _KERNELS_OF else backend] = _lazily(backend, operation)
    if len(implementations) == 1:
        return implementations[COMPOSITION]
    return fastest(operation, implementations, gpu_choices, gpu_seconds, gpu_may_measure, gpu_comparable)


def _kept(operation: str, key: str = "CUDA") -> Callable[..., Any]:
    """A library's kernel, to be called after another implementation was put in its place."""
    kernel = torch.library.get_kernel(getattr(torch.ops.wwae, operation).default, key)
    keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))
    return lambda *arguments: kernel.call_boxed(keys, *arguments)


def _lazily(backend: str, operation: str) -> Callable[..., Any]:
    """The implementation, imported when it is first called: importing Triton takes a second that a CPU user need not wait."""

    def call(*arguments: Any) -> Any:
        return _implementation(backend, operation)(*arguments)

    return call


_start()

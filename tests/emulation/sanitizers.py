"""Runs the emulated kernels in processes of their own, with a sanitizer's runtime in them before Python itself."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from emulation.build import build, compiler, missing

RUNTIMES = {"plain": (), "sanitized": ("libasan.so", "libubsan.so"), "threads": ("libtsan.so",)}
OPTIONS = {
    # Python and PyTorch keep what they allocate until the end, which is no leak of the kernels.
    "ASAN_OPTIONS": "detect_leaks=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    # Threads of PyTorch outside the kernels are nobody's business here.
    "TSAN_OPTIONS": "halt_on_error=1 exitcode=66 report_signal_unsafe=0",
}


@cache
def _runtimes(name: str) -> list[str]:
    """The files of the build's runtimes, or their bare names where the compiler has none."""
    ask = [[str(compiler()), f"-print-file-name={runtime}"] for runtime in RUNTIMES[name]]
    return [subprocess.run(question, capture_output=True, text=True).stdout.strip() for question in ask]


def _environment(name: str) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return inherited | OPTIONS | ({"LD_PRELOAD": " ".join(_runtimes(name))} if RUNTIMES[name] else {})


@cache
def unavailable(name: str) -> str | None:
    """Why a build of build.py cannot run here, or None."""
    if (reason := missing()) is not None:
        return reason
    absent = [runtime for runtime in _runtimes(name) if not os.path.isabs(runtime)]
    if absent:
        return f"the compiler comes without {' and '.join(absent)}"
    trial = subprocess.run([sys.executable, "-c", ""], env=_environment(name), capture_output=True, text=True)
    return f"a process beside {name} runtimes fails here: {trial.stderr.strip()[:200]}" if trial.returncode else None


def run(name: str, *command: str, library: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a Python command line beside a sanitizer; WWAE_EMULATION_LIBRARY names the build, or another `library` built in the
    same way. Skips where it cannot run."""
    if (reason := unavailable(name)) is not None:
        pytest.skip(reason)
    environment = _environment(name) | {"WWAE_EMULATION_LIBRARY": str(library or build(name))}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)

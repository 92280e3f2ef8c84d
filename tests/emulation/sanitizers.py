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
def unavailable(name: str) -> str | None:
    """Why a build of build.py cannot run here, or None."""
    if (reason := missing()) is not None:
        return reason
    for runtime in RUNTIMES[name]:
        found = subprocess.run([compiler(), f"-print-file-name={runtime}"], capture_output=True, text=True).stdout.strip()
        if not os.path.isabs(found):
            return f"the compiler comes without {runtime}"
    if RUNTIMES[name]:
        try_out = subprocess.run([sys.executable, "-c", ""], env=_environment(name), capture_output=True, text=True)
        if try_out.returncode:
            return f"{' and '.join(RUNTIMES[name])} cannot run here: {try_out.stderr.strip()[:200]}"
    return None


def run(name: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a Python command line beside a sanitizer; WWAE_EMULATION_LIBRARY names the build. Skips where it cannot run."""
    if (reason := unavailable(name)) is not None:
        pytest.skip(reason)
    environment = _environment(name) | {"WWAE_EMULATION_LIBRARY": str(build(name))}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)


def _environment(name: str) -> dict[str, str]:
    paths = [
        subprocess.run([compiler(), f"-print-file-name={runtime}"], capture_output=True, text=True).stdout.strip()
        for runtime in RUNTIMES[name]
    ]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return inherited | OPTIONS | ({"LD_PRELOAD": " ".join(map(str, map(Path, paths)))} if paths else {})

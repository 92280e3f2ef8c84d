"""Runs `tests/triton/interpreted` in a process of its own, where Triton's kernels are interpreted on the CPU."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "interpreted"


@pytest.mark.skipif(sys.platform != "linux", reason="Triton exists on Linux only")
def test_interpreted_kernels():
    pytest.importorskip("triton", reason="Triton is not installed")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FOLDER)],
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed and int(passed[1]) > 300, run.stdout[-2000:]

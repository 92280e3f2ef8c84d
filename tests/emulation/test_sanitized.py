"""Runs `test_emulated_kernels.py` in a process of its own, with the kernels built under AddressSanitizer and UBSan.

A read or write outside a tensor, a misaligned vector and a shift or an integer out of range end that process.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from emulation.build import compiler, missing

# One dtype, with the longest vectors: the addresses of the others differ only by their size.
KEPT = "not float32 and not float64 and not torch.float16"


def runtime(compiler: str, library: str) -> str | None:
    """The sanitizer's library, which has to be in the process before Python itself."""
    found = subprocess.run([compiler, f"-print-file-name={library}"], capture_output=True, text=True).stdout.strip()
    return found if os.path.isabs(found) else None


@pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")
def test_sanitized_kernels():
    runtimes = [runtime(compiler(), library) for library in ("libasan.so", "libubsan.so")]
    if None in runtimes:
        pytest.skip("the compiler comes without AddressSanitizer or UBSan")
    # Python and PyTorch keep what they allocate until the end, which is no leak of the kernels.
    environment = {
        "LD_PRELOAD": " ".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",
        "WWAE_EMULATION": "sanitized",
    }
    tests = Path(__file__).with_name("test_emulated_kernels.py")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-x", "-p", "no:cacheprovider", str(tests), "-k", KEPT],
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-8000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed and int(passed[1]) > 300, run.stdout[-2000:]

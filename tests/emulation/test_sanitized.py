"""The tests of the emulated kernels once more, beside AddressSanitizer and UBSan, and beside ThreadSanitizer.

A read or write outside a tensor, a misaligned vector, an integer out of range, and two threads at one place of memory
without a barrier between them end the process.
"""

import re
from pathlib import Path

import pytest
from emulation.build import missing
from emulation.sanitizers import run

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")

HERE = Path(__file__).parent

# One dtype, with the longest vectors: the addresses of the others differ only by their size.
KEPT = "not float32 and not float64 and not torch.float16"
# ThreadSanitizer takes microseconds for every thread: some geometries, which reach every kernel.
SMALL = f"({KEPT}) and (half or 3x3 or rectangle or tap or block_sum or column_sum or test_product or test_primitives)"
# These see to their builds themselves, or run no kernel, or too many of them.
OTHERS = {"sanitized", "faults", "convolution_faults", "traffic", "resources", "nvcc", "headers", "emulated_geometries"}
TESTS = [str(path) for path in sorted(HERE.glob("test_*.py")) if path.stem.removeprefix("test_") not in OTHERS]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kept", "least"), [("sanitized", KEPT, 300), ("threads", SMALL, 100)])
def test_beside_sanitizers(name: str, kept: str, least: int):
    result = run(name, "-m", "pytest", "-q", "-s", "-x", "-p", "no:cacheprovider", *TESTS, "-k", kept)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-8000:]
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed and int(passed[1]) > least, result.stdout[-2000:]

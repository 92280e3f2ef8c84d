"""The kernels of the built CUDA library keep their state in registers, on every architecture they were built for."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "wwae" / "_lib" / "libwwae_cuda.so"
SOURCES = sorted((Path(__file__).parents[2] / "csrc" / "cuda").glob("*.cu*"))

# 256 threads a block: with 64 registers four blocks share a multiprocessor, with 128 two. Numbers of float64 take two.
MOST_REGISTERS = 128
MOST_REGISTERS_TWO_BY_TWO = 64
TWO_BY_TWO = (
    r"(pairs|taps)_kernel|switch_pool2d_channels_kernel<[\w ]+, [\w ]+, \d+, 2,|switch_unpool2d_cells_kernel<\d+, 2,"
    r"|soft_argmax_pool2d\w*_(channels|cells|windows)_kernel<\w+, \d, 2>"
)


def cuobjdump() -> str | None:
    """The toolkit's, or the one that Triton carries."""
    if found := shutil.which("cuobjdump"):
        return found
    triton = importlib.util.find_spec("triton")
    carried = Path(triton.origin).parent / "backends" / "nvidia" / "bin" / "cuobjdump" if triton and triton.origin else None
    return str(carried) if carried and carried.exists() else None


@cache
def kernels() -> list[tuple[int, str, dict[str, int]]]:
    """(architecture, kernel, what it uses) of every kernel in the library."""
    tool = cuobjdump()
    if not LIBRARY.exists():
        pytest.skip("the CUDA library was not built: there is no nvcc, or WWAE_BUILD_CUDA=0")
    if tool is None or shutil.which("c++filt") is None:
        pytest.skip("cuobjdump and c++filt, which read the library, were not found")
    report = subprocess.run([tool, "--dump-resource-usage", str(LIBRARY)], capture_output=True, text=True, check=True).stdout
    names = subprocess.run(["c++filt"], input=report, capture_output=True, text=True, check=True).stdout
    found, architecture = [], 0
    for line, following in zip(names.splitlines(), [*names.splitlines()[1:], ""], strict=True):
        if match := re.match(r"arch = sm_(\d+)", line):
            architecture = int(match[1])
        elif match := re.match(r"\s*Function (.*wwae::.*)", line):
            used = {name: int(number) for name, number in re.findall(r"(REG|STACK|LOCAL):(\d+)", following)}
            found.append((architecture, match[1], used))
    return found


def test_every_kernel_of_every_file_is_there():
    names = "\n".join(name for _, name, _ in kernels())
    written = {name for path in SOURCES for name in re.findall(r"__global__[^;{]*?\b(\w+_kernel)\(", path.read_text())}
    assert len(written) > 10
    assert {name for name in written if not re.search(rf"\b{name}\b", names)} == set()


def test_every_kernel_is_named_as_one():
    """What the test above looks for in the sources."""
    for path in SOURCES:
        declared = re.findall(r"^(?!//).*__global__", path.read_text(), re.MULTILINE)
        assert len(declared) == len(re.findall(r"__global__[^;{]*?\b\w+_kernel\(", path.read_text())), path.name


def test_nothing_spills():
    spilled = [(sm, name) for sm, name, used in kernels() if used["STACK"] or used["LOCAL"]]
    assert spilled == []


def test_registers_leave_room_for_enough_threads():
    assert [(sm, name, used) for sm, name, used in kernels() if used["REG"] > MOST_REGISTERS] == []
    two_by_two = [kernel for kernel in kernels() if re.search(TWO_BY_TWO, kernel[1]) and "double" not in kernel[1]]
    assert two_by_two
    assert [kernel for kernel in two_by_two if kernel[2]["REG"] > MOST_REGISTERS_TWO_BY_TWO] == []

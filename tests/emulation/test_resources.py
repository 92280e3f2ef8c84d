"""The kernels of the built CUDA library keep their state in registers, on every architecture they were built for."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from emulation.machine_code import Kernel, compiled_kernels, unreadable

SOURCES = sorted((Path(__file__).parents[2] / "csrc" / "cuda").glob("*.cu*"))

# 256 threads a block: with 64 registers four blocks share a multiprocessor, with 128 two. Numbers of float64 take two.
MOST_REGISTERS = 128
MOST_REGISTERS_TWO_BY_TWO = 64
TWO_BY_TWO = (
    r"(pairs|taps)_kernel|switch_pool2d_channels_kernel<[\w ]+, [\w ]+, \d+, 2,|switch_unpool2d_cells_kernel<\d+, 2,"
    r"|soft_argmax_pool2d\w*_(channels|cells|windows)_kernel<\w+, \d, 2>"
)


@cache
def kernels() -> list[Kernel]:
    if reason := unreadable():
        pytest.skip(reason)
    return compiled_kernels()


def test_every_kernel_of_every_file_is_there():
    names = "\n".join(name for _, name, _, _ in kernels())
    written = {name for path in SOURCES for name in re.findall(r"__global__[^;{]*?\b(\w+_kernel)\(", path.read_text())}
    assert len(written) > 10
    assert {name for name in written if not re.search(rf"\b{name}\b", names)} == set()


def test_every_kernel_is_named_as_one():
    """What the test above looks for in the sources."""
    for path in SOURCES:
        declared = re.findall(r"^(?!//).*__global__", path.read_text(), re.MULTILINE)
        assert len(declared) == len(re.findall(r"__global__[^;{]*?\b\w+_kernel\(", path.read_text())), path.name


def test_nothing_spills():
    spilled = [(sm, name) for sm, name, _, used in kernels() if used["STACK"] or used["LOCAL"]]
    assert spilled == []


def test_registers_leave_room_for_enough_threads():
    assert [(sm, name, used) for sm, name, _, used in kernels() if used["REG"] > MOST_REGISTERS] == []
    two_by_two = [kernel for kernel in kernels() if re.search(TWO_BY_TWO, kernel.name) and "double" not in kernel.name]
    assert two_by_two
    assert [kernel for kernel in two_by_two if kernel.used["REG"] > MOST_REGISTERS_TWO_BY_TWO] == []

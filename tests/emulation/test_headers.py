"""The device headers keep to what can be emulated: everything of CUDA goes through device.cuh."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from emulation.build import ROOT

# device.cuh wraps the compilers; these two are for the .cu files alone.
HOST_HEADERS = {"device.cuh", "launch.cuh", "owners.cuh"}
HEADERS = [path for path in sorted((ROOT / "csrc" / "cuda").glob("*.cuh")) if path.name not in HOST_HEADERS]

OUTSIDE = re.compile(
    r"\basm\b|<<<|__CUDACC__|__CUDA_ARCH__|__shared__|\b__(?:syncthreads|syncwarp|activemask|ballot|shfl|any|all|match|reduce)\w*\("
    r"|\batomic[A-Z]\w*\(|#include <(?:cuda|cooperative)"
)


def code(text: str) -> str:
    return re.sub(r"//.*", "", text)


@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.name)
def test_header_uses_cuda_through_device_cuh(header: Path):
    found = OUTSIDE.search(code(header.read_text()))
    assert found is None, f"{header.name} has {found.group()!r}: add a form for both compilers to device.cuh"


@pytest.mark.parametrize(
    "text",
    [
        "__syncthreads();",
        'asm volatile("");',
        "__shared__ float x[2];",
        "__shfl_down_sync(m, x, 1)",
        "atomicAdd(p, 1)",
        "f<<<1, 2>>>()",
    ],
)
def test_what_cannot_be_emulated_is_seen(text: str):
    assert OUTSIDE.search(code(text))
    assert not OUTSIDE.search(code("// " + text))

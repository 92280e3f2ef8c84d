"""The CUDA forms of the primitives: nvcc compiles them without spills, and on a GPU they compute what the emulation does."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from emulation.build import HERE, ROOT, missing
from emulation.emulated import DTYPES, EmulatedKernels

pytestmark = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc was not found")


def nvcc(output: Path, arch: str, *flags: str) -> str:
    """Compile device_forms.cu; what ptxas reports."""
    run = subprocess.run(
        ["nvcc", "-std=c++20", "-O3", f"-arch={arch}", "-Xptxas=-v", "-Xcompiler=-Wno-unknown-pragmas", f"-I{ROOT / 'csrc'}",
         f"-I{HERE}", *flags, str(HERE / "device_forms.cu"), "-o", str(output)],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_primitives_compile_without_spills(arch: str, tmp_path: Path):
    report = nvcc(tmp_path / "forms.cubin", arch, "-cubin")
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report)
    assert len(spills) == 6, report  # two sums, two products, ldmatrix, the other primitives
    assert set(spills) == {("0", "0", "0")}, report


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    output = tmp_path_factory.mktemp("forms") / "libforms.so"
    major, minor = torch.cuda.get_device_capability()
    nvcc(output, f"sm_{major}{minor}", "-shared", "-Xcompiler=-fPIC")
    return ctypes.CDLL(str(output))


def call(function: ctypes._CFuncPtr, *arguments: torch.Tensor | int) -> None:
    """Pass tensors by their device memory, and integers; raise if CUDA does."""
    torch.cuda.synchronize()
    passed = [ctypes.c_void_p(a.data_ptr()) if isinstance(a, torch.Tensor) else ctypes.c_int64(a) for a in arguments]
    assert function(*passed) == 0


@pytest.mark.gpu
@pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")
@pytest.mark.parametrize(("columns", "rows"), [(32, 1), (96, 1), (1024, 1), (8, 32), (64, 4)])
@pytest.mark.parametrize("stem", ["block_sum", "column_sum"])
def test_sums_have_the_bits_of_the_emulation(device: ctypes.CDLL, library: Path, stem: str, columns: int, rows: int):
    if stem == "column_sum" and columns * rows > 256:
        pytest.skip("column_sum is compiled for blocks of up to 256 threads here")
    x = torch.randn(3, columns * rows, 3)
    expected, actual = torch.empty_like(x), torch.empty_like(x, device="cuda")
    EmulatedKernels(library).call(stem, x, expected, 3, columns, rows)
    call(getattr(device, f"device_{stem}"), x.cuda(), actual, 3, columns, rows)
    written = slice(None) if stem == "block_sum" else slice(columns)  # column_sum: the threads of row 0
    assert torch.equal(actual.cpu()[:, written], expected[:, written])


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_products_are_exact(device: ctypes.CDLL, dtype: torch.dtype):
    a, b = ((torch.randint(-16, 17, (rows, 160), device="cuda") / 8).to(dtype) for rows in (64, 128))
    c = torch.empty(64, 128, device="cuda")
    call(device.device_gemm, DTYPES[dtype], a, b, c, 160, 128)
    assert torch.equal(c.cpu(), a.cpu().float() @ b.cpu().float().T)


@pytest.mark.gpu
@pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")
@pytest.mark.parametrize(
    ("stem", "x", "size"),
    [("ldmatrix", torch.arange(256, dtype=torch.int16), (6, 32, 4)), ("primitives", torch.arange(1.0, 65.0), (6, 32))],
    ids=["ldmatrix", "primitives"],
)
def test_primitives_are_those_of_the_emulation(device: ctypes.CDLL, library: Path, stem: str, x: torch.Tensor, size: tuple):
    expected = torch.zeros(size, dtype=torch.int32 if stem == "ldmatrix" else torch.float32)
    actual = torch.zeros_like(expected, device="cuda")
    EmulatedKernels(library).call(stem, x, expected)
    call(getattr(device, f"device_{stem}"), x.cuda(), actual)
    assert torch.equal(actual.cpu(), expected)

"""Compile Triton kernels for a GPU that is not there, exactly as a host function would launch them."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource, CompiledKernel
from triton.runtime.jit import JITFunction, mangle_type
from triton.tools.tensor_descriptor import TensorDescriptor

POINTER_TYPES = {
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.uint8: "*u8",
    torch.int16: "*i16",
    torch.int32: "*i32",
    torch.int64: "*i64",
}


@dataclass
class Launch:
    """One launch of a kernel: its arguments by name, and its options such as num_warps."""

    kernel: JITFunction
    arguments: dict[str, Any]
    options: dict[str, Any]


def launches(host_function: Callable, *args, capability: int = 90) -> list[Launch]:
    """The kernels a host function launches on a GPU of that capability; its tensors may lie on the meta device."""
    found: list[Launch] = []

    def record(kernel: JITFunction, *kernel_args, grid, warmup, **kwargs):
        found.append(Launch(kernel, dict(zip(kernel.arg_names, kernel_args, strict=True)), kwargs))

    with (
        torch.utils._python_dispatch._disable_current_modes(),
        patch.object(JITFunction, "run", record),
        patch("torch.cuda.get_device_capability", lambda _: divmod(capability, 10)),
    ):
        host_function(*args)
    return found


def compile_launch(launch: Launch, capability: int) -> CompiledKernel:
    """Compiled and specialised as the launcher would: multiples of 16 and ones are known. Its `asm` holds the stages."""
    signature: dict[str, str] = {}
    constants: dict[tuple[int, ...], Any] = {}
    attributes: dict[tuple[int, ...], list] = {}
    parameters = {parameter.name: parameter for parameter in launch.kernel.params}
    for position, (name, value) in enumerate(launch.arguments.items()):
        divisible = False
        if parameters[name].is_constexpr or value is None or (isinstance(value, int) and value == 1):
            signature[name] = "constexpr"
            constants[(position,)] = value
        elif isinstance(value, TensorDescriptor):
            signature[name] = mangle_type(value)
        elif isinstance(value, torch.Tensor):
            signature[name] = POINTER_TYPES[value.dtype]
            divisible = True
        else:
            signature[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            divisible = value % 16 == 0
        if divisible:
            attributes[(position,)] = [["tt.divisibility", 16]]
    source = ASTSource(launch.kernel, signature, constants, attributes)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=launch.options)


@dataclass
class Resources:
    registers: int
    """Of a thread."""
    spilled_bytes: int


def resources(ptx: str, capability: int) -> Resources:
    """What ptxas reports of the one kernel in this text."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(ptx)
        arch = re.search(r"\.target (sm_\w+)", ptx)
        assert arch and arch[1].startswith(f"sm_{capability}")
        run = subprocess.run(
            [get_ptxas(capability).path, "-v", f"--gpu-name={arch[1]}", source, "-o", Path(folder, "kernel.cubin")],
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
    spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", run.stderr)
    registers = re.search(r"Used (\d+) registers", run.stderr)
    assert spills and registers, run.stderr
    return Resources(int(registers[1]), int(spills[1]) + int(spills[2]))

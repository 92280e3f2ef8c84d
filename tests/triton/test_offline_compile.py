"""Every Triton kernel compiles for sm_80 and sm_90 as its host function launches it, without spills."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from convolution_launches import convolution_launches
from offline import Launch, compile_launch, launches, resources
from triton.runtime.jit import JITFunction

from wwae import triton_kernels

# 128 threads a block: 16 blocks of 32 registers fill a multiprocessor, 128 registers leave 512 threads to hide latency.
MOST_REGISTERS = 128

# Kernel size, stride, padding, dilation, and the map it pools: (N, C, H, W), (OH, OW).
TWO_BY_TWO = (((2, 2), (2, 2), (0, 0), (1, 1)), (64, 64, 224, 224), (112, 112))
ALEXNET = (((3, 3), (2, 2), (0, 0), (1, 1)), (64, 64, 55, 55), (27, 27))
LARGE = (((16, 16), (16, 16), (0, 0), (1, 1)), (64, 64, 224, 224), (14, 14))
LARGE_OVERLAPPING = (((16, 16), (2, 2), (0, 0), (1, 1)), (4, 16, 64, 64), (25, 25))


# The geometries below reach every kernel.
EVERY_GEOMETRY = (TWO_BY_TWO, ALEXNET, LARGE, LARGE_OVERLAPPING)


def on_meta(shape: tuple[int, ...], dtype: torch.dtype, channels_last: bool) -> torch.Tensor:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(shape, dtype=dtype, device="meta", memory_format=layout)


def every_launch(geometry: tuple, dtype: torch.dtype, channels_last: bool, overlap: str) -> list[Launch]:
    window, shape, pooled_size = geometry
    x = on_meta(shape, dtype, channels_last)
    pooled = on_meta((*shape[:2], *pooled_size), dtype, channels_last)
    offsets = on_meta(pooled.shape, torch.uint8, channels_last)
    indices = on_meta(pooled.shape, torch.int64, channels_last)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    number = torch.empty(shape[1], dtype=wide, device="meta")
    batch_norm = (pooled, pooled, offsets, x, number, number, number)
    beta = torch.empty(shape[:2], dtype=wide, device="meta")
    where = torch.empty((*pooled.shape, 2), dtype=wide, device="meta")
    calls = (
        (triton_kernels.switch_pool2d_triton, x, *window, False),
        (triton_kernels.switch_unpool2d_triton, pooled, offsets, *window, shape[2:], overlap),
        (triton_kernels.switch_gather2d_triton, x, offsets, *window, overlap),
        (triton_kernels.fixed_unpool2d_triton, pooled, window[1], (1, 1), shape[2:]),
        (triton_kernels.soft_argmax_pool2d_triton, x, beta, *window[:3]),
        (triton_kernels.soft_argmax_pool2d_backward_triton, x, beta, pooled, where, *window[:3], True),
        (triton_kernels.soft_argmax_unpool2d_triton, pooled, where, *window[:3], shape[2:]),
        (triton_kernels.soft_argmax_unpool2d_backward_triton, pooled, where, x, *window[:3]),
        (triton_kernels.max_pool2d_triton, x, *window, False),
        (triton_kernels.max_unpool2d_triton, pooled, indices, shape[2:]),
        (triton_kernels.max_gather2d_triton, x, indices),
        (triton_kernels.bias_relu_pool2d_triton, x, number, *window, False),
        (triton_kernels.bias_relu_pool2d_backward_triton, pooled, pooled, offsets, *window, shape[2:]),
        (triton_kernels.batch_norm_relu_pool2d_triton, x, number, number, None, None, 1e-5, *window, False),
        (triton_kernels.batch_norm_relu_pool2d_backward_triton, *batch_norm, True, 1e-5, *window),
    )
    return [launch for function, *arguments in calls for launch in launches(function, *arguments)]


@pytest.mark.parametrize(
    ("capability", "geometry", "dtype", "channels_last", "overlap"),
    [
        pytest.param(90, TWO_BY_TWO, torch.bfloat16, False, "last", id="sm_90, 2x2, bfloat16, contiguous"),
        pytest.param(90, TWO_BY_TWO, torch.bfloat16, True, "last", id="sm_90, 2x2, bfloat16, channels_last"),
        pytest.param(90, ALEXNET, torch.float32, True, "mean", id="sm_90, 3x3, float32, channels_last"),
        pytest.param(90, LARGE, torch.bfloat16, False, "last", id="sm_90, 16x16, bfloat16, contiguous"),
        pytest.param(90, LARGE_OVERLAPPING, torch.float32, False, "sum", id="sm_90, 16x16 overlapping, float32"),
        pytest.param(80, TWO_BY_TWO, torch.float16, True, "last", id="sm_80, 2x2, float16, channels_last"),
        pytest.param(80, TWO_BY_TWO, torch.float64, False, "last", id="sm_80, 2x2, float64, contiguous"),
        pytest.param(80, ALEXNET, torch.bfloat16, False, "mean", id="sm_80, 3x3, bfloat16, contiguous"),
    ],
)
def test_compiles_without_spills(capability: int, geometry: tuple, dtype: torch.dtype, channels_last: bool, overlap: str):
    compiled = every_launch(geometry, dtype, channels_last, overlap)
    # Fifteen operations. The two that follow indices, the two gradients with a ReLU and batch norm make two launches, the
    # gradient of soft pooling one or two.
    assert len(compiled) in (20, 21)
    for launch in compiled:
        used = resources(compile_launch(launch, capability).asm["ptx"], capability)
        assert used.spilled_bytes == 0, (launch.kernel.__name__, used)
        assert used.registers <= MOST_REGISTERS, (launch.kernel.__name__, used)


def kernels_written() -> set[str]:
    """Kernels by name: functions that Triton compiles and no other such function calls."""
    modules = [
        importlib.import_module(f"wwae.triton_kernels.{found.name}") for found in pkgutil.iter_modules(triton_kernels.__path__)
    ]
    return {
        function.__name__
        for module in modules
        for function in vars(module).values()
        if isinstance(function, JITFunction) and function.__name__.endswith("_kernel")
    }


def test_every_kernel_is_compiled_here():
    reached = {
        launch.kernel.__name__
        for geometry in EVERY_GEOMETRY
        for channels_last in (False, True)
        for overlap in ("last", "sum")
        for launch in every_launch(geometry, torch.bfloat16, channels_last, overlap)
    }
    convolutions = (convolution_launches(90, (1, 8, 8, 8), 8, 3, TWO_BY_TWO[0], torch.bfloat16, layout) for layout in (False, True))
    reached |= {launch.kernel.__name__ for launches in convolutions for launch in launches.values()}
    assert kernels_written() == reached


def test_every_operation_is_launched_here():
    functions = inspect.getsource(every_launch) + inspect.getsource(convolution_launches)
    assert {name for name in triton_kernels.__all__ if f"{name}," not in functions} == set()


@pytest.mark.parametrize("channels_last", [False, True])
def test_two_by_two_moves_whole_vectors(channels_last: bool):
    """The pool reads its two rows, and the unpool writes them, in 16-byte accesses alone."""
    by_name = {
        launch.kernel.__name__: compile_launch(launch, 90).asm["ptx"]
        for launch in every_launch(TWO_BY_TWO, torch.bfloat16, channels_last, "last")
    }
    loads = [line for line in by_name["switch_pool2d_fwd_kernel"].splitlines() if "ld.global" in line]
    stores = [line for line in by_name["switch_unpool2d_cells_kernel"].splitlines() if "st.global" in line]
    assert len(loads) == len(stores) == 4
    assert all(".v4.b32" in line for line in loads + stores)

"""The kernels with a convolution compile for sm_80 and sm_90 as `auto` may launch them: no spills, and on tensor cores."""

from __future__ import annotations

import re

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from convolution_launches import convolution_launches
from offline import compile_launch, resources

TWO = ((2, 2), (2, 2), (0, 0), (1, 1))
THREE = ((3, 3), (2, 2), (0, 0), (1, 1))

# What a block may use: 99 KiB from sm_86 on, which runs what sm_80 does, and 227 KiB on sm_90.
SHARED_MEMORY = {80: 99 * 1024, 90: 227 * 1024}

# Blocks 1 and 2 of VGG-16, AlexNet's second and last, and odd channels.
BLOCK_1 = ((64, 64, 224, 224), 64)
BLOCK_2 = ((64, 128, 112, 112), 128)
ALEXNET_2 = ((64, 64, 27, 27), 192)
ALEXNET_5 = ((64, 256, 13, 13), 256)
ODD = ((2, 35, 21, 19), 50)


@pytest.mark.parametrize(
    ("capability", "block", "kernel", "window", "dtype", "channels_last"),
    [
        (90, BLOCK_1, 3, TWO, torch.bfloat16, True),
        (90, BLOCK_2, 3, TWO, torch.float16, True),
        (90, ALEXNET_2, 5, THREE, torch.bfloat16, True),
        (90, ALEXNET_5, 3, THREE, torch.bfloat16, True),
        (90, BLOCK_1, 3, THREE, torch.bfloat16, True),
        (90, BLOCK_1, 5, TWO, torch.bfloat16, True),
        (90, BLOCK_1, 3, TWO, torch.float32, True),
        (90, ALEXNET_2, 5, THREE, torch.float32, False),
        (90, ODD, 5, THREE, torch.float16, True),
        (80, BLOCK_1, 3, TWO, torch.bfloat16, True),
        (80, BLOCK_1, 3, TWO, torch.float32, True),
        (80, ALEXNET_2, 5, THREE, torch.bfloat16, True),
        (80, ALEXNET_2, 5, THREE, torch.float32, True),
        (80, ALEXNET_5, 3, THREE, torch.bfloat16, False),
        (80, ODD, 5, THREE, torch.float32, True),
    ],
    ids=str,
)
def test_compiles_without_spills(
    capability: int, block: tuple, kernel: int, window: tuple, dtype: torch.dtype, channels_last: bool
):
    for name, launch in convolution_launches(capability, *block, kernel, window, dtype, channels_last).items():
        compiled = compile_launch(launch, capability)
        used = resources(compiled.asm["ptx"], capability)
        assert used.spilled_bytes == 0, (name, used)
        assert compiled.metadata.shared <= SHARED_MEMORY[capability], (name, compiled.metadata.shared)
        products = set(re.findall(r"(wgmma\.mma_async|mma)\.sync\.aligned", compiled.asm["ptx"]))
        # A warpgroup multiplies 64 rows; the tiles of what comes in no vectors may have fewer.
        in_vectors = channels_last and dtype != torch.float32 and block is not ODD
        assert products == {"wgmma.mma_async"} if capability == 90 and in_vectors else len(products) == 1, (name, products)


@pytest.mark.parametrize("block", [BLOCK_1, BLOCK_2], ids=["few channels", "many channels"])
def test_operands_go_from_boxes_to_tensor_cores(block: tuple):
    """On sm_90 the loop over the taps copies boxes, multiplies out of shared memory, and does nothing else."""
    launch = convolution_launches(90, *block, 3, TWO, torch.bfloat16, True)["conv_relu_pool2d"]
    assert launch.kernel.__name__ == "conv_relu_pool2d_descriptor_kernel"
    compiled = compile_launch(launch, 90)
    loop = compiled.asm["ttgir"].partition("scf.for")[2].partition("scf.yield")[0]
    rows = launch.arguments["tile"].shared_rows
    assert loop.count("async_tma_copy_global_to_local") == 1 + rows
    assert loop.count("warp_group_dot ") == rows
    assert not re.search(r"local_load|local_store|convert_layout|tt\.load", loop)
    assert {"HGMMA", "UTMALDG"} <= set(re.findall(r"[A-Z]+", compiled.asm["sass"]))


def test_windows_are_pooled_in_registers():
    """After the products of a 2 x 2 pooling, shared memory serves the rearrangement of what is stored, and nothing else."""
    launch = convolution_launches(90, *BLOCK_2, 3, TWO, torch.bfloat16, True)["conv_relu_pool2d"]
    epilogue = compile_launch(launch, 90).asm["ttgir"].rpartition("scf.yield")[2]
    moved = re.findall(r"ttg\.convert_layout .* -> tensor<([0-9x]+)x(\w+),", epilogue)
    assert sorted(moved) == [("128x8x8", "bf16"), ("128x8x8", "i8")]


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("block", [BLOCK_1, BLOCK_2], ids=["few channels", "many channels"])
def test_looked_up_pixels_are_loaded_in_vectors(capability: int, block: tuple):
    """Values and switches come in accesses of 16 bytes, whatever the switches say."""
    launch = convolution_launches(capability, *block, 3, TWO, torch.bfloat16, True)["unpool_conv2d"]
    ptx = compile_launch(launch, capability).asm["ptx"]
    copies = re.findall(r"cp\.async\.c[ag]\.shared\.global .*, 0x(\w+), %r\d+;", ptx)
    assert set(copies) == {"10"}
    # What else is loaded is the bias.
    assert set(re.findall(r"ld\.global\.\w+", ptx)) <= {"ld.global.b16", "ld.global.v2.b16"}

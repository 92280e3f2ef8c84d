"""Read what nvcc made of the CUDA kernels with a convolution, as VGG-16 would launch them on GPUs that need not be there.

``PYTHONPATH=.:tests python docs/read_cuda_convolutions.py`` writes ``docs/cuda-convolutions.json``: the kernels and grids that the
host functions choose, and what the built CUDA library holds for them. ``make_convolutions.py`` makes the tables from it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from convolution_blocks import BATCH, BLOCKS, WINDOW
from emulation.build import build, missing
from emulation.emulated import EmulatedKernels
from emulation.machine_code import Kernel, compiled_kernels, instructions, unreadable
from emulation.plan import convolution_tile, planned_launches, weight_gradient_tile

from wwae._extension import build_info

RECORD = Path(__file__).parent / "cuda-convolutions.json"
CAPABILITIES = (80, 86, 89, 90)

# What multiplies matrices or adds in double, and what brings operands into shared memory or registers, in the machine's language.
INSTRUCTIONS = r"(HMMA\.16816|LDSM|LDGSTS|LDG\.E\.\d|DADD)"
MODIFIERS = r"\.(F32|BF16|BYPASS|LTC128B|16(?=\.M))"

# From sm_90 on the report counts what CUDA keeps for itself of a block's shared memory; the tables add it everywhere.
RESERVED_BYTES = {capability: 1024 if capability >= 90 else 0 for capability in CAPABILITIES}


def calls(block: int) -> dict[str, Any]:
    """``{operation: call(kernels)}`` of a block of VGG-16: bfloat16 in channels_last, as the kernels take it."""
    channels, size = BLOCKS[block]
    taps, padding, output_size = (3, 3), (1, 1), (size, size)

    def on_meta(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device="meta", memory_format=torch.channels_last)

    x = on_meta(BATCH, channels, size, size)
    pooled = on_meta(BATCH, channels, size // 2, size // 2)
    offsets = on_meta(BATCH, channels, size // 2, size // 2, dtype=torch.uint8)
    weight = on_meta(channels, channels, *taps)
    bias = torch.empty(channels, device="meta")

    def pool(kernels: EmulatedKernels) -> None:
        kernels.conv_relu_pool2d(x, weight, bias, *WINDOW, False, (1, 1), padding, (1, 1), 1)

    def unpool(kernels: EmulatedKernels) -> None:
        kernels.unpool_conv2d(pooled, offsets, weight, bias, *WINDOW, output_size, padding, True)

    def weight_gradient(kernels: EmulatedKernels) -> None:
        kernels.unpool_conv2d_weight_backward(pooled, offsets, x, *WINDOW, output_size, taps, padding)

    return {"conv_relu_pool2d": pool, "unpool_conv2d": unpool, "unpool_conv2d_weight_backward": weight_gradient}


def plans(library: Path) -> list[dict[str, Any]]:
    """What the host functions choose, whatever the GPU; ``library`` is the emulated one, which holds the same functions."""
    height, width, channels, depth = convolution_tile(library)
    outputs, inputs, pixels = weight_gradient_tile(library)
    convolution = {"height": height, "width": width, "channels": channels, "depth": depth}
    tiles = {
        "conv_relu_pool2d_kernel": convolution,
        "unpool_conv2d_kernel": convolution,
        "unpool_conv2d_weight_backward_kernel": {"outputs": outputs, "inputs": inputs, "pixels": pixels},
    }
    return [
        {
            "operation": operation,
            "symbol": launch.kernel,
            "block": block,
            "tile": next((tile for name, tile in tiles.items() if name in launch.kernel), None),
            "warps": launch.threads // 32,
            "programs": launch.blocks,
            "dynamic_shared_bytes": launch.shared_bytes,
        }
        for block in BLOCKS
        for operation, call in calls(block).items()
        for launch in planned_launches(library, call)
    ]


def used(kernel: Kernel) -> dict[str, Any]:
    """What the compiler made of a kernel."""
    found = {name: count for name, count in instructions(kernel).items() if re.match(INSTRUCTIONS, name)}
    return {
        "symbol": kernel.symbol,
        "kernel": re.sub(r"^void |wwae::|>\(.*", "", kernel.name) + ">",
        "capability": kernel.architecture,
        "instructions": {re.sub(MODIFIERS, "", name): found[name] for name in sorted(found)},
        "registers": kernel.used["REG"],
        "spilled_bytes": kernel.used["STACK"] + kernel.used["LOCAL"],
        "static_shared_bytes": kernel.used["SHARED"] - RESERVED_BYTES[kernel.architecture],
    }


def compiled(symbols: set[str]) -> list[dict[str, Any]]:
    """What the built library holds for these kernels."""
    kernels = [kernel for kernel in compiled_kernels() if kernel.symbol in symbols and kernel.architecture in CAPABILITIES]
    return [used(kernel) for kernel in sorted(kernels, key=lambda kernel: (kernel.architecture, kernel.symbol))]


def main() -> None:
    """Write the record, or say why the old one stays."""
    if reason := missing() or unreadable():
        print(f"{RECORD.name} stays as it is: {reason}")
        return
    launches = plans(build())
    kernels = compiled({launch["symbol"] for launch in launches})
    record = {"nvcc": build_info()["cuda"], "batch": BATCH, "launches": launches, "kernels": kernels}
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

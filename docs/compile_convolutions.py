"""Compile the Triton kernels with a convolution for GPUs that need not be there, as VGG-16 would launch them.

``PYTHONPATH=.:tests/triton python docs/compile_convolutions.py`` writes ``docs/convolutions.json``: what was compiled, the
instructions chosen, and what a block of threads uses. ``make_convolutions.py`` makes the tables from it. It takes minutes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
import triton
from convolution_blocks import BATCH, BLOCKS, WINDOW
from convolution_launches import convolution_launches
from offline import Launch, compile_launch, resources

RECORD = Path(__file__).parent / "convolutions.json"
CAPABILITIES = (80, 90)

# What multiplies matrices, and what brings operands from global into shared memory, in the machine's language.
INSTRUCTIONS = r"\b(HGMMA\.\w+\.F32\.BF16|HMMA\.\w+\.F32\.BF16|UTMALDG|LDGSTS\.E(?:\.BYPASS)?(?:\.LTC128B)?\.128)"


def launches_of(block: int, capability: int) -> dict[str, Launch]:
    """The kernel of each operation, bfloat16 in channels_last."""
    channels, size = BLOCKS[block]
    return convolution_launches(capability, (BATCH, channels, size, size), channels, 3, WINDOW, torch.bfloat16, True)


def plan(operation: str, block: int, capability: int, launch: Launch) -> dict[str, Any]:
    """What a host function chose."""
    tile = {name: value for name, value in vars(launch.arguments["tile"]).items() if name not in ("warps", "registers")}
    return {
        "operation": operation,
        "kernel": launch.kernel.__name__,
        "block": block,
        "capability": capability,
        "tile": tile,
        "warps": launch.options["num_warps"],
        "programs": launch.programs,
    }


def compiled(launch: Launch, capability: int) -> dict[str, Any]:
    """What the compilers made of it."""
    kernel = compile_launch(launch, capability)
    used = resources(kernel.asm["ptx"], capability)
    found = {name.replace(".BYPASS", "").replace(".LTC128B", "") for name in re.findall(INSTRUCTIONS, kernel.asm["sass"])}
    return {
        "instructions": sorted(found),
        "registers": used.registers,
        "spilled_bytes": used.spilled_bytes,
        "shared_bytes": kernel.metadata.shared,
    }


def main() -> None:
    """Compile everything and write the record."""
    rows = [
        plan(operation, block, capability, launch) | compiled(launch, capability)
        for capability in CAPABILITIES
        for block in BLOCKS
        for operation, launch in launches_of(block, capability).items()
    ]
    record = {"triton": triton.__version__, "batch": BATCH, "rows": rows}
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Write the tables of ``docs/convolutions.md`` from ``docs/convolutions.json`` and ``docs/cuda-convolutions.json``, and draw its
figure.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from generated import write_generated
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmarks.table import markdown

DOCS = Path(__file__).parent
BLUE, ORANGE, GREEN, PINK = "#56B4E9", "#E69F00", "#009E73", "#CC79A7"


class Gpu(NamedTuple):
    """What one multiprocessor holds, as the CUDA programming guide lists it, and how many there are."""

    name: str
    multiprocessors: int
    registers: int
    shared_bytes: int
    threads: int
    blocks: int


GPUS = {
    80: Gpu("A100", 108, 65536, 164 * 1024, 2048, 32),
    86: Gpu("RTX 3090", 82, 65536, 100 * 1024, 1536, 16),
    89: Gpu("RTX 4090", 128, 65536, 100 * 1024, 1536, 24),
    90: Gpu("H200", 132, 65536, 228 * 1024, 2048, 32),
}

# Bytes per element of the full-resolution map with 2 x 2 windows, 16-bit floats and as many channels in as out: fused, composed.
BYTES = {
    "conv_relu_pool2d": (2 + 0.75, 2 + 2 + 2 + 0.75),
    "unpool_conv2d": (0.75 + 2, 0.75 + 2 + 2 + 2),
    "unpool_conv2d_weight_backward": (0.75 + 2, 0.75 + 2 + 2 + 2),
}


def blocks_held(row: dict[str, Any], gpu: Gpu) -> int:
    """Blocks that a multiprocessor holds: registers come 8 a thread, and a block keeps 1 KiB of shared memory for itself."""
    threads = 32 * row["warps"]
    registers = threads * 8 * math.ceil(row["registers"] / 8)
    return min(gpu.registers // registers, gpu.shared_bytes // (row["shared_bytes"] + 1024), gpu.threads // threads, gpu.blocks)


def occupancy(row: dict[str, Any], gpu: Gpu) -> str:
    """The share of the threads that a multiprocessor could hold."""
    return f"{100 * blocks_held(row, gpu) * row['warps'] * 32 / gpu.threads:.0f} %"


def waves(row: dict[str, Any], gpu: Gpu) -> str:
    """Programs over all that run at once."""
    return f"{row['programs'] / (blocks_held(row, gpu) * gpu.multiprocessors):.1f}"


def used(row: dict[str, Any], gpu: Gpu) -> tuple[str, ...]:
    """Registers, spilled bytes, shared memory, blocks held and occupancy."""
    shared = f"{row['shared_bytes'] / 1024:.1f}".removesuffix(".0")
    return str(row["registers"]), str(row["spilled_bytes"]), shared, str(blocks_held(row, gpu)), occupancy(row, gpu)


def tile(row: dict[str, Any]) -> str:
    """The tile of a program, in words."""
    shape = row["tile"]
    if "outputs" in shape:
        return f"{shape['outputs']}×{shape['inputs']} channels, {shape['pixels']} pixels a step"
    rows = shape.get("shared_rows", 1)
    shared = f", {rows} rows of taps a step" if rows > 1 else ""
    return f"{shape['height']}×{shape['width']} pixels × {shape['channels']} channels, {shape['depth']} deep{shared}"


USED = ("registers", "spilled", "shared KiB", "blocks held", "occupancy")


def table(rows: list[dict[str, Any]]) -> str:
    """One line for each launch."""
    lines: list[tuple[str, ...]] = [("block", "tile", "instructions", *USED, "programs", "waves")]
    for row in rows:
        gpu = GPUS[row["capability"]]
        instructions = ", ".join(name.replace(".F32.BF16", "") for name in row["instructions"])
        lines.append((str(row["block"]), tile(row), instructions, *used(row, gpu), str(row["programs"]), waves(row, gpu)))
    return markdown(lines)


def triton_tables(record: dict[str, Any], operation: str) -> list[str]:
    """A table for each architecture."""
    parts = []
    for capability, gpu in GPUS.items():
        rows = [row for row in record["rows"] if (row["operation"], row["capability"]) == (operation, capability)]
        if rows:
            words = f"Triton, sm_{capability} ({gpu.name}, {gpu.multiprocessors} multiprocessors), `{rows[0]['kernel']}`:"
            parts += [words, "", table(rows), ""]
    return parts


def cuda_tables(record: dict[str, Any], operation: str) -> list[str]:
    """For each kernel that is launched what it computes, and a table with a line for each architecture."""
    launches = [launch for launch in record["launches"] if launch["operation"] == operation]
    parts = []
    for symbol in dict.fromkeys(launch["symbol"] for launch in launches):
        chosen = [launch for launch in launches if launch["symbol"] == symbol]
        kernels = [kernel for kernel in record["kernels"] if kernel["symbol"] == symbol]
        tiles = f"{tile(chosen[0])}, " if chosen[0]["tile"] else ""
        programs = ", ".join(f"{launch['programs']} (block {launch['block']})" for launch in chosen)
        words = f"CUDA, `{kernels[0]['kernel']}`: {tiles}{32 * chosen[0]['warps']} threads; programs: {programs}."
        lines: list[tuple[str, ...]] = [
            ("architecture", "instructions", *USED, *(f"waves, block {launch['block']}" for launch in chosen))
        ]
        for kernel in kernels:
            gpu = GPUS[kernel["capability"]]
            rows = [cuda_row(launch, kernel) for launch in chosen]
            instructions = ", ".join(f"{count} {name}" for name, count in kernel["instructions"].items())
            named = f"sm_{kernel['capability']} ({gpu.name}, {gpu.multiprocessors})"
            lines.append((named, instructions, *used(rows[0], gpu), *(waves(row, gpu) for row in rows)))
        parts += [words, "", markdown(lines), ""]
    return parts


def cuda_row(launch: dict[str, Any], kernel: dict[str, Any]) -> dict[str, Any]:
    """A launch and its kernel, as a row of the Triton record is."""
    return launch | kernel | {"shared_bytes": launch["dynamic_shared_bytes"] + kernel["static_shared_bytes"]}


def generated_text() -> str:
    """The generated part of the document."""
    records = ("convolutions.json", "cuda-convolutions.json")
    triton, cuda = (json.loads((DOCS / name).read_text(encoding="utf-8")) for name in records)
    compilers = f"Triton {triton['triton']} and nvcc {cuda['nvcc']}"
    parts = [f"Compiled by {compilers} for batches of {triton['batch']}, bfloat16, channels_last.", ""]
    for operation, (fused, composed) in BYTES.items():
        parts += [f"### `{operation}`", "", f"Bytes per element: {fused:g} fused, {composed:g} composed.", ""]
        parts += [*triton_tables(triton, operation), *cuda_tables(cuda, operation)]
    return "\n".join(parts)


def draw_grid(axes: Axes, left: float, top: float, rows: int, columns: int, size: float, color: str, alpha: float) -> None:
    """Pixels."""
    for row in range(rows):
        for column in range(columns):
            corner = (left + column * size, top + row * size)
            axes.add_patch(Rectangle(corner, size, size, facecolor=color, alpha=alpha, edgecolor="white", linewidth=1.2))


def draw_frame(axes: Axes, left: float, top: float, width: float, height: float, color: str, style: str = "-") -> None:
    """The outline of a box of pixels."""
    axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=color, linewidth=2.2, linestyle=style))


def label(axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
    """Words in the middle of a place."""
    axes.text(x, y, text, ha="center", va="center", **{"fontsize": 9, **options})


def draw_boxes(axes: Axes) -> None:
    """The boxes of a tile: one for a column of taps, moved by the column."""
    label(axes, 4.6, -2.2, "1  copy: a box of x for a column of taps", fontsize=10)
    draw_grid(axes, 1, 1, 8, 8, 1, BLUE, 0.25)
    for column, color in enumerate((ORANGE, GREEN, PINK)):
        draw_frame(axes, column + 0.06 * column, 0.06 * column, 4 - 0.1, 6 - 0.1, color)
        label(axes, column + 0.5, -0.5, f"s={column}", color=color, fontsize=8)
    label(axes, 5, 9.6, "x, one image. What lies outside comes as zeros:\nthe padding. A box is `depth` channels deep.", fontsize=8)
    axes.set(xlim=(-0.6, 9.6), ylim=(10.6, -2.8), aspect="equal")


def draw_product(axes: Axes) -> None:
    """The product of one step."""
    label(axes, 4.6, -2.2, "2  multiply: a sum for each row of the column", fontsize=10)
    for row, color in enumerate((ORANGE, GREEN, PINK)):
        top = 3.3 * row
        axes.add_patch(Rectangle((0, top), 1.6, 2.6, facecolor=color, alpha=0.35, edgecolor=color))
        label(axes, 0.8, top + 1.3, f"weights\nr = {row}", fontsize=8)
        axes.add_patch(Rectangle((5.4, top), 4.2, 2.6, facecolor=color, alpha=0.6, edgecolor=color))
        label(axes, 7.5, top + 1.3, f"sums, r = {row}\nchannels × pixels", fontsize=8)
        axes.annotate("", (5.3, top + 1.3), (4.4, top + 1.3), arrowprops={"arrowstyle": "-|>", "color": "0.3"})
        label(axes, 2.1, top + 1.3, "×", fontsize=12)
    axes.add_patch(Rectangle((2.6, 0), 1.7, 9.2, facecolor=BLUE, alpha=0.35, edgecolor=BLUE))
    label(axes, 3.45, 4.6, "box:\ndepth\n×\npixels", fontsize=8)
    axes.set(xlim=(-0.4, 10), ylim=(10.6, -2.8), aspect="equal")


def draw_pooling(axes: Axes) -> None:
    """The sums shifted and added, then pooled."""
    label(axes, 4.6, -2.2, "3  add, rectify and pool in registers", fontsize=10)
    for row, color in enumerate((ORANGE, GREEN, PINK)):
        draw_frame(axes, 0.08 * row, 2 - row, 4, 6, color)
        label(axes, 4.7, 2 - row + 0.5, f"r = {row}", color=color, fontsize=8)
    draw_grid(axes, 0, 2, 4, 4, 1, BLUE, 0.45)
    label(
        axes,
        4.6,
        9.6,
        "Row h of the convolution is the sum of row h + r of the\nsums r. The last two rows are not whole: the next tile's.",
        fontsize=8,
    )
    for row in range(2):
        for column in range(2):
            draw_frame(axes, 2 * column + 0.06, 2 * row + 2.06, 1.88, 1.88, "black", ":")
    axes.annotate("", (7.0, 4), (5.4, 4), arrowprops={"arrowstyle": "-|>", "color": "0.3"})
    draw_grid(axes, 7.2, 1.4, 2, 2, 1, BLUE, 0.8)
    label(axes, 8.2, 0.9, "values, 2 bytes", fontsize=8)
    draw_grid(axes, 7.2, 5.0, 2, 2, 1, GREEN, 0.6)
    label(axes, 8.2, 4.5, "switches, 1 byte", fontsize=8)
    for number, (row, column) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        label(axes, 7.7 + column, 5.5 + row, str((3, 0, 1, 2)[number]))
    axes.set(xlim=(-0.6, 10), ylim=(10.6, -2.8), aspect="equal")


def draw(path: Path) -> None:
    """The tile of the fused convolution, in the proportions of a small one."""
    figure = Figure(figsize=(11, 4.3), layout="constrained")
    for axes, part in zip(figure.subplots(1, 3), (draw_boxes, draw_product, draw_pooling), strict=True):
        part(axes)
        axes.axis("off")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    """Write the document and draw the figure."""
    draw(DOCS / "figures" / "convolution-tile.png")
    write_generated(DOCS / "convolutions.md", "docs/make_convolutions.py", generated_text())


if __name__ == "__main__":
    main()

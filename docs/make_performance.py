"""Write the tables of ``docs/performance.md`` and draw its figures, from ``benchmarks/results/*.json``."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from generated import write_generated
from matplotlib.figure import Figure

from benchmarks.cases import DIRECTIONS
from benchmarks.results import DIRECTORY, Row
from benchmarks.table import comparisons, factors, markdown, memory, slower, spread_of_copies, table

DOCS = Path(__file__).parent
LAYOUTS = ("contiguous", "channels_last")
DRAWN = ("switch_pool2d", "switch_unpool2d")
# Okabe and Ito's palette, safe for colour-blind readers.
BARS = {"wwae": "#0072B2", "eager": "#E69F00", "compile": "#009E73"}
RIVALS = {"eager": "eager PyTorch", "compile": "`torch.compile`"}


def draw(rows: list[Row], path: Path) -> None:
    """Bandwidth of a training step in float32, for each case beside the copy of the same bytes."""
    groups = comparisons(rows)
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots(len(DRAWN), len(LAYOUTS), sharey="row", squeeze=False)
    for line, operation in zip(axes, DRAWN, strict=True):
        for axis, layout in zip(line, LAYOUTS, strict=True):
            chosen = {k[1]: g for k, g in groups.items() if (k[0], *k[2:]) == (operation, "float32", layout, "step")}
            for place, group in enumerate(chosen.values()):
                for shift, (provider, color) in enumerate(BARS.items()):
                    if provider in group:
                        axis.bar(place + (shift - 1) * 0.27, group[provider]["gb_per_s"], 0.25, color=color)
                if "copy" in group:
                    axis.hlines(group["copy"]["gb_per_s"], place - 0.42, place + 0.42, color="black", linewidth=1.5)
            axis.set_xticks(range(len(chosen)), list(chosen), rotation=35, ha="right", fontsize=8)
            axis.set_title(f"{operation}, {layout}", fontsize=10)
            axis.spines[["top", "right"]].set_visible(False)
        line[0].set_ylabel("GB/s of counted bytes")
    handles = [axes[0, 0].bar(0, 0, color=color) for color in BARS.values()]
    handles.append(axes[0, 0].plot([], [], color="black")[0])
    figure.legend(handles, [*BARS, "copy of the same bytes"], loc="outside lower center", ncols=4, frameon=False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def describe(run: dict[str, Any]) -> str:
    """The conditions of a run in one line."""
    words = [run["device"]]
    if "threads" in run:
        words += [f"{run['threads']} threads", run["instruction_set"], f"allocator {run['allocator']}"]
    else:
        words += [f"CUDA {run['cuda']}", f"driver {run['driver']}", f"Triton {run['triton']}"]
    return ", ".join([*words, f"PyTorch {run['torch']}", f"wwae {run['wwae']} at {run['commit']}", run["date"]])


def section(path: Path) -> str:
    """The part of one machine."""
    results = json.loads(path.read_text(encoding="utf-8"))
    rows = results["rows"]
    timed = {row.get("run") for row in rows}
    memory_only = {row["peak_run"] for row in rows if "peak_run" in row} - timed
    runs = list(results["runs"])
    notes = [
        f"{number}. {describe(run)}{', peak memory alone' * (name in memory_only)}"
        for number, (name, run) in enumerate(results["runs"].items(), 1)
    ]
    parts = [f"## {path.stem}", "", "The column *run* of the tables says which of these runs a line is from:", "", *notes, ""]
    for rival in RIVALS:
        parts += losses(rows, rival, runs)
    alt = "Bandwidth of a training step beside eager and compiled PyTorch"
    parts += ["### Bandwidth of a training step", "", f"![{alt}](figures/{figure_of(path)})", ""]
    parts += spread_in_words(rows)
    for operation in dict.fromkeys(row["operation"] for row in rows):
        parts += [f"### `{operation}`", "", markdown(table(rows, operation, runs)), ""]
    parts += memory_tables(rows, runs)
    return "\n".join(parts)


def losses(rows: list[Row], rival: str, runs: Sequence[str]) -> list[str]:
    """Every comparison in which a rival is faster, by direction; how many there are, and of which operations."""
    parts = [f"### Slower than {RIVALS[rival]}", ""]
    for direction in DIRECTIONS:
        found = factors(rows, rival, direction)
        if not found:
            continue
        lost = slower(rows, rival, direction, runs)
        measured = ", ".join(f"`{operation}`" for operation in sorted({setting[0] for setting in found}))
        median = f"the median of × {rival} in all of them is {statistics.median(found.values()):.2f}"
        parts += [f"**{direction}** (of {measured}): slower in {len(lost) - 1} of {len(found)} comparisons; {median}.", ""]
        parts += [markdown(lost), ""] if len(lost) > 1 else []
    return parts if len(parts) > 2 else [*parts, "Not measured.", ""]


def spread_in_words(rows: list[Row]) -> list[str]:
    """How far the machine drifts."""
    spread = spread_of_copies(rows)
    words = "Copies of the same number of bytes in one run take times that differ by a factor of up to"
    return [] if spread is None else [f"{words} {spread:.1f}; so far does the machine drift from one comparison to the next.", ""]


def memory_tables(rows: list[Row], runs: Sequence[str]) -> list[str]:
    """What forward keeps, which hardly depends on the layout, and the most that a step holds."""
    kept = ["### Kept for backward, MB", "", markdown(memory(rows, "kept_bytes", ["contiguous"], runs)), ""]
    return [*kept, "### Peak memory of a step, MB", "", markdown(memory(rows, "peak_bytes", runs=runs)), ""]


def figure_of(path: Path) -> str:
    """Name of the figure of a results file."""
    return f"performance-{path.stem}.png"


def generated_text() -> str:
    """The generated part of the document."""
    files = sorted(DIRECTORY.glob("*.json"))
    return "\n".join(section(path) for path in files) or "No measurement is committed yet; `make bench` makes one."


def main() -> None:
    """Write the document and draw the figures."""
    for path in DIRECTORY.glob("*.json"):
        draw(json.loads(path.read_text(encoding="utf-8"))["rows"], DOCS / "figures" / figure_of(path))
    write_generated(DOCS / "performance.md", "docs/make_performance.py", generated_text())


if __name__ == "__main__":
    main()

"""Rows side by side: ours beside the copy, the product of matrices, eager PyTorch and ``torch.compile`` of the same run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.cases import LAYOUTS, MATMUL, PROVIDERS
from benchmarks.results import Row

HEADER = ("case", "dtype", "layout", "direction", "ms", "GB/s", "% of copy", "× eager", "× compile")


def comparisons(rows: Iterable[Row]) -> dict[tuple[str, ...], dict[str, Row]]:
    """``{(operation, case, dtype, layout, direction): {provider: row}}`` where ours was measured; others only of its run."""
    groups: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        setting = tuple(row[name] for name in ("operation", "case", "dtype", "layout", "direction"))
        groups.setdefault(setting, {})[row["provider"]] = row
    return {
        setting: {provider: row for provider, row in group.items() if row.get("run") == group["wwae"].get("run")}
        for setting, group in groups.items()
        if "wwae" in group
    }


def times_faster(group: dict[str, Row], rival: str) -> float | None:
    """How many times the median of a rival is ours; None where it was not measured."""
    return group[rival]["ms_p50"] / group["wwae"]["ms_p50"] if rival in group else None


def table(rows: Iterable[Row], operation: str) -> list[tuple[str, ...]]:
    """The comparison of one operation, header first; for one that multiplies, with a product of matrices in it."""
    groups = {setting: group for setting, group in comparisons(rows).items() if setting[0] == operation}
    limits = ("copy", MATMUL) if any(MATMUL in group for group in groups.values()) else ("copy",)
    lines = [(*HEADER[:6], *(f"% of {limit}" for limit in limits), *HEADER[7:])]
    for (_, *setting), group in groups.items():
        ours = group["wwae"]
        shares = (times_faster(group, limit) for limit in limits)
        numbers = (
            f"{ours['ms_p50']:.3f}",
            f"{ours['gb_per_s']:.1f}",
            *("–" if share is None else f"{100 * share:.0f}" for share in shares),
            *_factors(group),
        )
        lines.append((*setting, *numbers))
    return lines


def _factors(group: dict[str, Row]) -> tuple[str, ...]:
    factors = (times_faster(group, rival) for rival in ("eager", "compile"))
    return tuple("–" if factor is None else f"{factor:.2f}" for factor in factors)


def memory(rows: Iterable[Row], field: str, layouts: Sequence[str] = tuple(LAYOUTS)) -> list[tuple[str, ...]]:
    """Megabytes (10^6 bytes) of a training step under ``field`` of the rows, ours beside PyTorch's, header first."""
    groups = comparisons(rows)
    columns = [(layout, provider) for layout in layouts for provider in PROVIDERS if provider != "copy"]
    names = [provider if len(layouts) == 1 else f"{provider}, {layout}" for layout, provider in columns]
    lines: list[tuple[str, ...]] = [("operation", "case", "dtype", *names)]
    for setting in dict.fromkeys(setting[:3] for setting in groups if setting[4] == "step"):
        found = (groups.get((*setting, layout, "step"), {}).get(provider, {}).get(field) for layout, provider in columns)
        lines.append((*setting, *("–" if number is None else f"{number / 1e6:.2f}" for number in found)))
    return lines


def plain(lines: list[tuple[str, ...]]) -> str:
    """A table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def markdown(lines: list[tuple[Any, ...]]) -> str:
    """A table for a document."""
    first, *others = (f"| {' | '.join(map(str, line))} |" for line in lines)
    return "\n".join([first, "|" + " --- |" * len(lines[0]), *others])

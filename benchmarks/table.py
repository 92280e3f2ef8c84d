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


def table(rows: Iterable[Row], operation: str, runs: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """The comparison of one operation, header first; for one that multiplies, with a product of matrices in it.

    With the names of ``runs`` the last column is the number of a row's run among them, counted from 1.
    """
    groups = {setting: group for setting, group in comparisons(rows).items() if setting[0] == operation}
    limits = ("copy", MATMUL) if any(MATMUL in group for group in groups.values()) else ("copy",)
    lines = [(*HEADER[:6], *(f"% of {limit}" for limit in limits), *HEADER[7:], *_header_of_runs(runs))]
    for (_, *setting), group in groups.items():
        ours = group["wwae"]
        shares = (times_faster(group, limit) for limit in limits)
        numbers = (
            f"{ours['ms_p50']:.3f}",
            f"{ours['gb_per_s']:.1f}",
            *("–" if share is None else f"{100 * share:.0f}" for share in shares),
            *_factors(group),
        )
        lines.append((*setting, *numbers, *_numbers_of_runs(runs, [ours.get("run")])))
    return lines


def _factors(group: dict[str, Row]) -> tuple[str, ...]:
    factors = (times_faster(group, rival) for rival in ("eager", "compile"))
    return tuple("–" if factor is None else f"{factor:.2f}" for factor in factors)


def _header_of_runs(runs: Sequence[str]) -> tuple[str, ...]:
    return ("run",) if runs else ()


def _numbers_of_runs(runs: Sequence[str], names: Iterable[str | None]) -> tuple[str, ...]:
    """The last cell of a line whose numbers come from the runs of these names; nothing where runs are not told apart."""
    return (", ".join(map(str, sorted({runs.index(name) + 1 for name in names if name in runs}))),) if runs else ()


def factors(rows: Iterable[Row], rival: str, direction: str) -> dict[tuple[str, ...], float]:
    """How many times the median of a rival is ours, in each comparison with it in a direction."""
    groups = comparisons(rows).items()
    found = {setting: times_faster(group, rival) for setting, group in groups if setting[4] == direction}
    return {setting: factor for setting, factor in found.items() if factor is not None}


def slower(rows: Iterable[Row], rival: str, direction: str, runs: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """The comparisons of a direction in which the rival takes less time, by operation, in microseconds, header first."""
    groups = comparisons(rows)
    lines = [("operation", *HEADER[:3], f"× {rival}", "wwae, µs", f"{rival}, µs", *_header_of_runs(runs))]
    for setting, factor in sorted(factors(rows, rival, direction).items(), key=lambda pair: pair[0][0]):
        if factor < 1:
            ours, theirs = groups[setting]["wwae"], groups[setting][rival]
            times = (f"{1e3 * row['ms_p50']:.1f}" for row in (ours, theirs))
            lines.append((*setting[:4], f"{factor:.3f}", *times, *_numbers_of_runs(runs, [ours.get("run")])))
    return lines


def spread_of_copies(rows: Iterable[Row]) -> float | None:
    """The largest ratio of the times of two copies of as many bytes in one run; None where no run has two."""
    times: dict[tuple[str | None, int], list[float]] = {}
    for row in rows:
        if row["provider"] == "copy":
            times.setdefault((row.get("run"), row["bytes"]), []).append(row["ms_p50"])
    return max((max(same) / min(same) for same in times.values() if len(same) > 1), default=None)


def memory(
    rows: Iterable[Row], field: str, layouts: Sequence[str] = tuple(LAYOUTS), runs: Sequence[str] = ()
) -> list[tuple[str, ...]]:
    """Megabytes (10^6 bytes) of a training step under ``field`` of the rows, ours beside PyTorch's, header first.

    ``runs`` as for :func:`table`; a peak comes from the row's ``peak_run`` where it has one.
    """
    groups = comparisons(rows)
    columns = [(layout, provider) for layout in layouts for provider in PROVIDERS if provider != "copy"]
    names = [provider if len(layouts) == 1 else f"{provider}, {layout}" for layout, provider in columns]
    lines: list[tuple[str, ...]] = [("operation", "case", "dtype", *names, *_header_of_runs(runs))]
    for setting in dict.fromkeys(setting[:3] for setting in groups if setting[4] == "step"):
        found = [groups.get((*setting, layout, "step"), {}).get(provider, {}) for layout, provider in columns]
        megabytes = ("–" if row.get(field) is None else f"{row[field] / 1e6:.2f}" for row in found)
        measured = [row for row in found if row.get(field) is not None]
        names_of_runs = [row.get("peak_run", row.get("run")) if field == "peak_bytes" else row.get("run") for row in measured]
        lines.append((*setting, *megabytes, *_numbers_of_runs(runs, names_of_runs)))
    return lines


def plain(lines: list[tuple[str, ...]]) -> str:
    """A table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def markdown(lines: list[tuple[Any, ...]]) -> str:
    """A table for a document."""
    first, *others = (f"| {' | '.join(map(str, line))} |" for line in lines)
    return "\n".join([first, "|" + " --- |" * len(lines[0]), *others])

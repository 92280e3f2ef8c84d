"""The results file of a machine: ``{"runs": {run: environment}, "rows": [row, …]}``.

A row is one measurement and names the run it comes from; a run is one start of the suite, with all versions, the commit and the
date. Measuring a setting again replaces its row, so a file can be brought up to date in parts. Where ``--memory-only`` measured the
peak of a row later than its times, ``peak_run`` names that run.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

import wwae
from benchmarks.cases import ALL_PROVIDERS, DIRECTIONS, DTYPES, LAYOUTS, Setting
from benchmarks.measure import Operation
from benchmarks.timing import Times

DIRECTORY = Path(__file__).parent / "results"

# What differs from the commit, apart from the results themselves.
_CHANGES = ("status", "--porcelain", "--", ":/", ":(top,exclude)benchmarks/results")

KEY = ("operation", "case", "dtype", "layout", "direction", "provider")

Row = dict[str, Any]


def device_name(device: str) -> str:
    """What the vendor calls the processor."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    from cpuinfo import get_cpu_info

    return get_cpu_info().get("brand_raw") or platform.machine()


def default_path(device: str) -> Path:
    """``results/cpu-<model>.json`` or ``results/<gpu>.json``."""
    words = re.sub(r"\((R|TM)\)|CPU|@", " ", device_name(device))
    slug = re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-")
    return DIRECTORY / (f"cpu-{slug}.json" if device == "cpu" else f"{slug}.json")


def environment(device: str) -> dict[str, Any]:
    """Everything about this run that can change its numbers."""
    facts = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": _commit(),
        "wwae": wwae.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": device_name(device),
    }
    if device == "cpu":
        return facts | {
            "threads": torch.get_num_threads(),
            "instruction_set": torch.backends.cpu.get_cpu_capability(),
            "allocator": "keeps freed memory" if os.environ.get("MALLOC_MMAP_MAX_") == "0" else "default",
        }
    import triton

    query = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    driver = subprocess.run(query, check=True, capture_output=True, text=True).stdout.split()[0]
    return facts | {"cuda": torch.version.cuda, "triton": triton.__version__, "driver": driver}


def _commit() -> str:
    """The commit of the checkout, with ``+changes`` when files differ from it."""

    def git(*words: str) -> str:
        command = ("git", "-C", str(DIRECTORY.parent), *words)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if git(*_CHANGES) else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def make_row(operation: Operation, setting: Setting, times: Times | None, kept: int | None, peak: int | None) -> Row:
    """The measurement in words and numbers; GB/s are 10^9 counted bytes a second. Without times their names are left out."""
    moved = operation.traffic(setting)
    case = setting.case
    flops = {} if operation.flops is None else {"flops": operation.flops(setting)}
    return {
        "operation": operation.name,
        "case": case.name,
        "dtype": setting.dtype,
        "layout": setting.layout,
        "direction": setting.direction,
        "provider": setting.provider,
        "shape": list(case.shape),
        "kernel_size": case.kernel,
        "stride": case.stride,
        **({} if times is None else _timed(times, moved)),
        "bytes": moved,
        "kept_bytes": kept,
        "peak_bytes": peak,
        **flops,
    }


def _timed(times: Times, moved: int) -> Row:
    milliseconds = {f"ms_{name}": round(value, 5) for name, value in vars(times).items()}
    return {**milliseconds, "gb_per_s": round(moved / times.p50 / 1e6, 3)}


def key(row: Row) -> tuple[str, ...]:
    """What a row measures."""
    return tuple(row[name] for name in KEY)


def read(path: Path) -> dict[str, Any]:
    """A results file; an empty one where there is none yet."""
    if not path.exists():
        return {"runs": {}, "rows": []}
    return json.loads(path.read_text(encoding="utf-8"))


def merge(old: dict[str, Any], run: dict[str, Any], rows: list[Row]) -> dict[str, Any]:
    """The results with the rows of a run in place of older ones of the same key; runs without rows are dropped."""
    name = _name(run)
    merged = {key(row): row for row in old["rows"]} | {key(row): row | {"run": name} for row in rows}
    return {"runs": _used(old["runs"] | {name: run}, merged.values()), "rows": sorted(merged.values(), key=_order)}


def merge_peaks(old: dict[str, Any], run: dict[str, Any], rows: list[Row]) -> dict[str, Any]:
    """The results with the peaks of a run in rows that are there, whose times stay: memory does not depend on what else runs."""
    name = _name(run)
    peaks = {key(row): {"peak_bytes": row["peak_bytes"], "peak_run": name} for row in rows if row["peak_bytes"] is not None}
    merged = [row | peaks.get(key(row), {}) for row in old["rows"]]
    return {"runs": _used(old["runs"] | {name: run}, merged), "rows": merged}


def _name(run: dict[str, Any]) -> str:
    return f"{run['date']} {run['commit']}"


def _used(runs: dict[str, Any], rows: Iterable[Row]) -> dict[str, Any]:
    """The runs that rows come from."""
    used = {row[name] for row in rows for name in ("run", "peak_run") if name in row}
    return {name: facts for name, facts in runs.items() if name in used}


def _order(row: Row) -> tuple[Any, ...]:
    """The order of measurement, which puts the rows of one comparison together."""
    places = (list(DTYPES), list(LAYOUTS), DIRECTIONS, ALL_PROVIDERS)
    names = (row["dtype"], row["layout"], row["direction"], row["provider"])
    return row["operation"], row["case"], *(place.index(name) for place, name in zip(places, names, strict=True))


def write(path: Path, results: dict[str, Any]) -> None:
    """Write a results file, one row a line, in one step."""
    rows = ",\n".join(json.dumps(row) for row in results["rows"])
    text = f'{{"runs": {json.dumps(results["runs"], indent=1)},\n"rows": [\n{rows}\n]}}\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)

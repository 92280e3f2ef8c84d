"""Options of the suite, and what happens to its rows: printed at the end and merged into the results file of the machine."""

from __future__ import annotations

import argparse
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch._functorch.config

from benchmarks import results
from benchmarks.cases import ALL_PROVIDERS, PROVIDERS, Setting, comparisons, quick_cases
from benchmarks.measure import Operation, prepare
from benchmarks.memory import peak_bytes
from benchmarks.table import memory, plain, table
from benchmarks.timing import time_calls

_ROWS = pytest.StashKey[list[results.Row]]()
_BATCH = {"cpu": 4, "cuda": 64}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("wwae benchmarks")
    group.addoption("--device", choices=("cpu", "cuda"), default="cpu", help="where to measure (default: cpu)")
    known = ",".join(ALL_PROVIDERS)
    group.addoption("--providers", type=_providers, default=known, help=f"who is compared (default: {known}, as the operation has)")
    group.addoption("--quick", action="store_true", help="maps of a few kilobytes, to try the suite; written only with --results")
    group.addoption("--memory-only", action="store_true", help="measure peak memory alone, into rows that were timed before")
    group.addoption("--results", type=Path, help="file to merge the rows into (default: benchmarks/results/<machine>.json)")


def _providers(names: str) -> tuple[str, ...]:
    """The providers that a comma-separated list names, in the order of :data:`ALL_PROVIDERS`."""
    chosen = names.split(",")
    if unknown := set(chosen) - set(ALL_PROVIDERS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(map(repr, unknown)))}; known: {', '.join(ALL_PROVIDERS)}")
    return tuple(provider for provider in ALL_PROVIDERS if provider in chosen)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_ROWS] = []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    operation = metafunc.module.OPERATION
    option = metafunc.config.getoption
    chosen = quick_cases() if option("quick") else operation.cases(_BATCH[option("device")])
    existing = PROVIDERS if operation.flops is None else ALL_PROVIDERS
    providers = tuple(provider for provider in option("providers") if provider in existing)
    compared = list(comparisons(chosen, operation.dtypes, providers))
    metafunc.parametrize("settings", compared, ids=lambda settings: settings[0].comparison)


@pytest.fixture
def measure(request: pytest.FixtureRequest, settings: tuple[Setting, ...]):
    """Measure an operation in the settings of this comparison and keep the rows."""

    def run(operation: Operation) -> None:
        device = request.config.getoption("device")
        # Backward alone runs many times over one graph, which buffers given away by the first run would not survive.
        with torch._functorch.config.patch(donated_buffer=settings[0].direction != "backward"):
            prepared, failures = _prepare_each(operation, settings, device)
            functions = [function for function, _ in prepared.values()]
            untimed = request.config.getoption("memory_only") or not functions
            times = [None] * len(functions) if untimed else time_calls(request, functions, device)
            peaks = [peak_bytes(function, device) if setting.computes else None for setting, (function, _) in prepared.items()]
        for (setting, (_, kept)), time, peak in zip(prepared.items(), times, peaks, strict=True):
            request.config.stash[_ROWS].append(results.make_row(operation, setting, time, kept, peak))
        if failures:
            pytest.fail("\n".join(failures), pytrace=False)

    return run


def _prepare_each(operation: Operation, settings: tuple[Setting, ...], device: str) -> tuple[dict[Setting, Any], list[str]]:
    """What :func:`prepare` gives for each setting, and what went wrong: one provider that fails does not stop the others."""
    prepared, failures = {}, []
    for setting in settings:
        try:
            prepared[setting] = prepare(operation, setting, device)
        except Exception:
            failures.append(f"{setting.provider}: {traceback.format_exc()}")
    return prepared, failures


def pytest_sessionfinish(session: pytest.Session) -> None:
    config, rows = session.config, session.config.stash[_ROWS]
    path = config.getoption("results")
    if path is None and not config.getoption("quick"):
        path = results.default_path(config.getoption("device"))
    if rows and path is not None:
        run = results.environment(config.getoption("device"))
        merge = results.merge_peaks if config.getoption("memory_only") else results.merge
        results.write(path, merge(results.read(path), run, rows))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[_ROWS]
    for operation in dict.fromkeys(row["operation"] for row in rows):
        chosen = [row for row in rows if row["operation"] == operation]
        memory_only = config.getoption("memory_only")
        lines = memory(chosen, "peak_bytes") if memory_only else table(chosen, operation)
        if len(lines) > 1:
            terminalreporter.section(f"{operation}, peak memory in MB" if memory_only else operation)
            terminalreporter.write_line(plain(lines))

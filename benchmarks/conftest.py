"""Options of the suite, and what happens to its rows: printed at the end and merged into the results file of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch._functorch.config

from benchmarks import results
from benchmarks.cases import MATMUL, PROVIDERS, Setting, quick_cases, settings
from benchmarks.measure import Operation, prepare, time_call
from benchmarks.memory import peak_bytes
from benchmarks.table import memory, plain, table

_ROWS = pytest.StashKey[list[results.Row]]()
_BATCH = {"cpu": 4, "cuda": 64}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("wwae benchmarks")
    group.addoption("--device", choices=("cpu", "cuda"), default="cpu", help="where to measure (default: cpu)")
    group.addoption("--quick", action="store_true", help="maps of a few kilobytes, to try the suite; written only with --results")
    group.addoption("--memory-only", action="store_true", help="measure peak memory alone, into rows that were timed before")
    group.addoption("--results", type=Path, help="file to merge the rows into (default: benchmarks/results/<machine>.json)")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_ROWS] = []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    operation = metafunc.module.OPERATION
    option = metafunc.config.getoption
    chosen = quick_cases() if option("quick") else operation.cases(_BATCH[option("device")])
    providers = PROVIDERS if operation.flops is None else (*PROVIDERS, MATMUL)
    metafunc.parametrize("setting", list(settings(chosen, operation.dtypes, providers)), ids=str)


@pytest.fixture
def measure(request: pytest.FixtureRequest, setting: Setting):
    """Measure an operation in the setting of this test and keep the row."""

    def run(operation: Operation) -> None:
        device = request.config.getoption("device")
        # Backward alone runs many times over one graph, which buffers given away by the first run would not survive.
        with torch._functorch.config.patch(donated_buffer=setting.direction != "backward"):
            function, kept = prepare(operation, setting, device)
            times = None if request.config.getoption("memory_only") else time_call(request, function, device)
            peak = peak_bytes(function, device) if setting.computes else None
        request.config.stash[_ROWS].append(results.make_row(operation, setting, times, kept, peak))

    return run


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

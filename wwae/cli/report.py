"""``wwae report``: runs beside the numbers of their papers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wwae.cli.parser import CommandParser
from wwae.cli.result import format_percent
from wwae.data import DataError
from wwae.recipes import RECIPES
from wwae.training import ConfigurationError, RunDirectory, TrainingConfiguration

__all__ = ["run"]

DESCRIPTION = """\
Print a table of the test errors of finished runs, each beside the number that its paper prints for the same data, labels
and dropout. The table is Markdown, ready to be pasted into a document."""

_HEADER = ("run", "labels", "dropout", "rounds", "epochs", "seed", "network", "test error", "paper", "run - paper")
_NETWORKS = (("test_error", "SWWAE"), ("baseline_test_error", "convnet"))


def run(arguments: Sequence[str]) -> None:
    """Run the command on the words after ``wwae report``."""
    parser = CommandParser("report", DESCRIPTION)
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="directory of a finished run")
    options = parser.parse(arguments)
    rows, sources = [], []
    for path in options.runs:
        directory = RunDirectory.open(path)
        configuration = directory.read_configuration()
        if not isinstance(configuration, TrainingConfiguration):
            raise ConfigurationError(f"{directory.path}: expected a run of a stacked what-where auto-encoder, got one in stages")
        summary = _read_summary(directory)
        for metric, network in _NETWORKS:
            if metric in summary["metrics"]:
                row, source = _row(path, configuration, summary, metric, network)
                rows.append(row)
                sources += [source] if source and source not in sources else []
    print(_table([_HEADER, *rows]))
    if sources:
        print("\nPaper: " + "; ".join(sources) + ". Errors in percent.")


def _read_summary(directory: RunDirectory) -> dict[str, Any]:
    try:
        summary = json.loads(directory.summary.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{directory.summary}: missing, so the run is not finished: wwae train --resume {directory.path}") from None
    except ValueError as error:
        raise DataError(f"{directory.summary}: damaged: {error}") from error
    if not isinstance(summary, dict) or not isinstance(summary.get("metrics"), dict):
        raise DataError(f"{directory.summary}: damaged: it holds no metrics")
    return summary


def _row(
    path: Path, configuration: TrainingConfiguration, summary: Mapping[str, Any], metric: str, network: str
) -> tuple[tuple[str, ...], str | None]:
    recipe = RECIPES.get(configuration.recipe)
    result = recipe.paper_result(configuration, metric) if recipe is not None else None
    metrics = summary["metrics"]
    row = (
        path.resolve().name,
        str(configuration.data.labels),
        f"{configuration.model.dropout:g}",
        str(configuration.rounds),
        str(configuration.epochs),
        str(configuration.seed),
        network,
        format_percent(metrics, metric).removesuffix(" %"),
        "-" if result is None else str(result),
        "-" if result is None else f"{metrics[metric] - result.value:+.2f}",
    )
    return row, None if result is None else result.source


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)

"""``wwae report``: runs beside the numbers of their papers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wwae.cli.inversion_result import INVERSION_HEADER, inversion_rows
from wwae.cli.parser import CommandParser, UsageError
from wwae.cli.result import format_percent
from wwae.cli.staged_report import HEADER as STAGED_HEADER
from wwae.cli.staged_report import PAPER, FinishedRun, draw_runs, staged_rows
from wwae.data import DataError
from wwae.recipes import RECIPES
from wwae.training import InversionConfiguration, RunDirectory, StagedConfiguration, TrainingConfiguration

__all__ = ["run"]

DESCRIPTION = """\
Print a table of the test errors of finished runs, each beside the number that its paper prints for the same data, labels
and dropout. The table is Markdown, ready to be pasted into a document.

Runs in stages stand beside their control without decoder, and the difference beside that of the paper's Table 1; runs that differ
in their seed alone are averaged. The other protocols of the paper appear for runs that 'wwae evaluate' has measured.

Runs that invert a classifier have a row for each layer, with the PSNR of its reconstructions."""

_HEADER = ("run", "labels", "dropout", "rounds", "epochs", "seed", "network", "test error", "paper", "run - paper")
_NETWORKS = (("test_error", "SWWAE"), ("baseline_test_error", "convnet"))


def run(arguments: Sequence[str]) -> None:
    """Run the command on the words after ``wwae report``."""
    parser = CommandParser("report", DESCRIPTION)
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="directory of a finished run")
    curves = "picture to draw of the test errors over the joint stage, of runs in stages"
    parser.add_argument("--curves", metavar="FILE.png", type=Path, help=curves)
    options = parser.parse(arguments)
    if options.curves is not None and (options.curves.suffix.lower() != ".png" or not options.curves.parent.is_dir()):
        raise UsageError(f"--curves: expected a name that ends in .png in an existing directory, got {options.curves}")
    rows, sources, staged, inverted = [], [], [], []
    for path in options.runs:
        directory = RunDirectory.open(path)
        configuration, summary = directory.read_configuration(), _read_summary(directory)
        if isinstance(configuration, StagedConfiguration):
            staged.append(
                FinishedRun(path.resolve().name, configuration, summary, directory.read_metrics(), _read_evaluation(directory))
            )
            continue
        if isinstance(configuration, InversionConfiguration):
            inverted += inversion_rows(path.resolve().name, configuration, summary)
            continue
        for metric, network in _NETWORKS:
            if metric in summary["metrics"]:
                row, source = _row(path, configuration, summary, metric, network)
                rows.append(row)
                sources += [source] if source and source not in sources else []
    if rows:
        print(_table([_HEADER, *rows]))
    if sources:
        print("\nPaper: " + "; ".join(sources) + ". Errors in percent.")
    if staged:
        print(("\n" if rows else "") + _table([STAGED_HEADER, *staged_rows(staged)]))
        print(f"\nErrors in percent. Paper: {PAPER}.")
    if inverted:
        print(("\n" if rows or staged else "") + _table([INVERSION_HEADER, *inverted]))
        print("\nPSNR in dB of reconstructions from each layer with switches of each source. Paper: pictures without numbers.")
    if options.curves is not None:
        if not staged:
            raise UsageError("--curves: expected runs in stages, got none")
        draw_runs(staged, options.curves)
        print(f"curves    {options.curves}")


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


def _read_evaluation(directory: RunDirectory) -> dict[str, Any] | None:
    path = directory.path / "evaluation.json"
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: damaged: {error}; wwae evaluate {directory.path} writes it anew") from error


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

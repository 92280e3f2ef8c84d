"""The table of ``wwae report`` for runs in stages: what a decoder gained, beside what it gained in the paper."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wwae.recipes.augmented import TABLE_1, VGG_BASELINE, network_name
from wwae.training import StagedConfiguration
from wwae.training.staged_figures import draw_comparison, error_curve

__all__ = ["FinishedRun", "draw_runs", "staged_rows"]

HEADER = ("run", "data", "labels", "seed", "network", "protocol", "control", "augmented", "difference", "paper's difference")
PAPER = "Zhang et al. 2016, Table 1: the same network augmented from VGG-16 on ImageNet, less VGGNet"

# Protocol, its error in evaluation.json, and its column in Table 1.
_PROTOCOLS = (
    ("single crop, top-1", "top1"),
    ("single crop, top-5", "top5"),
    ("convolution, top-1", "convolution_top1"),
    ("convolution, top-5", "convolution_top5"),
)


@dataclass(frozen=True)
class FinishedRun:
    """A run in stages: its name, settings, ``summary.json``, rows of ``metrics.csv``, and ``evaluation.json`` if there is one."""

    name: str
    configuration: StagedConfiguration
    summary: Mapping[str, Any]
    rows: Sequence[Mapping[str, str]]
    evaluation: Mapping[str, Any] | None = None

    def errors(self, protocol: str) -> tuple[float, float] | None:
        """The errors of control and augmented network in percent; None where they were not measured."""
        if protocol == "top1":
            metrics = self.summary["metrics"]
            return metrics["baseline_test_error"], metrics["test_error"]
        if self.evaluation is None:
            return None
        networks = self.evaluation["networks"]
        return networks["control"][protocol], networks["joint"][protocol]


def draw_runs(runs: Sequence[FinishedRun], path: Path) -> None:
    """Draw the test errors of the joint stages of some runs, by network, beside those of their controls."""
    curves: dict[str, list[list[tuple[float, float]]]] = {"control, no decoder": []}
    seen = set()
    for run in runs:
        start = run.summary["metrics"]["classifier_test_error"]
        curves.setdefault(network_name(run.configuration), []).append(error_curve(run.rows, "joint", start))
        # Variants of one seed have one control.
        control = tuple(error_curve(run.rows, "control", start))
        if control not in seen:
            seen.add(control)
            curves["control, no decoder"].append(list(control))
    draw_comparison(curves, path)


def staged_rows(runs: Sequence[FinishedRun]) -> list[tuple[str, ...]]:
    """Return the rows of the table, without its header: each run's, then means over runs that differ in their seed alone."""
    rows = [row for run in runs for row in _rows([run], run.name, str(run.configuration.seed))]
    for group in _alike(runs):
        if len(group) > 1:
            rows += _rows(group, "mean", f"{len(group)} seeds")
    return rows


def _rows(runs: Sequence[FinishedRun], name: str, seed: str) -> list[tuple[str, ...]]:
    configuration = runs[0].configuration
    network = network_name(configuration)
    rows: list[tuple[str, ...]] = []
    for protocol, column in _PROTOCOLS:
        measured = [errors for run in runs if (errors := run.errors(column)) is not None]
        if len(measured) == len(runs):
            paper = getattr(TABLE_1[network], column) - getattr(VGG_BASELINE, column)
            control, augmented = zip(*measured, strict=True)
            differences = [b - a for a, b in measured]
            numbers = (_mean(control), _mean(augmented), _mean(differences, sign="+"), f"{paper:+.2f}")
            rows.append((name, configuration.data.dataset, str(configuration.data.labels), seed, network, protocol, *numbers))
    return rows


def _mean(values: Sequence[float], sign: str = "") -> str:
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{sign}.2f}{deviation}"


def _alike(runs: Iterable[FinishedRun]) -> list[list[FinishedRun]]:
    groups: dict[str, list[FinishedRun]] = {}
    free: Any = {"seed": True, "resume": True, "device": True, "run": True, "data": {"root": True}}
    for run in runs:
        groups.setdefault(run.configuration.model_dump_json(exclude=free), []).append(run)
    return list(groups.values())

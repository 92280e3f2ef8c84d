"""The tables of ``docs/results.md`` for runs in stages: means over seeds, beside the paper's differences."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from wwae.recipes.augmented import TABLE_1, VGG_BASELINE, network_name
from wwae.training import StagedConfiguration

HEADER = (
    "network",
    "seeds",
    "classifier before, %",
    "control, %",
    "augmented, %",
    "difference",
    "paper's difference",
    "squared error of an image",
)


def is_staged(result: dict[str, Any]) -> bool:
    """Whether a kept result is that of a run in stages."""
    return "joint" in result["configuration"]


def data_name(result: dict[str, Any]) -> str:
    """The recipes that belong into one table, such as ``mnist-vgg``."""
    return result["summary"]["recipe"].rsplit("-", 2)[0]


def staged_section(name: str, results: Sequence[dict[str, Any]]) -> str:
    """One table with a row for each network, and the commands."""
    by_network: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        by_network.setdefault(network_name(StagedConfiguration.from_values(result["configuration"])), []).append(result)
    rows = [row_of(network, by_network[network]) for network in TABLE_1 if network in by_network]
    lines = [f"| {' | '.join(row)} |" for row in (HEADER, tuple("---" for _ in HEADER), *rows)]
    commands = [command_of(by_network[network]) for network in TABLE_1 if network in by_network]
    return "\n".join([f"## {name}", "", *lines, "", *commands, ""])


def row_of(network: str, results: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """A network's means over its seeds, ± their sample standard deviation."""
    metrics = [result["summary"]["metrics"] for result in results]
    columns = [[each[metric] for each in metrics] for metric in ("classifier_test_error", "baseline_test_error", "test_error")]
    differences = [each["test_error"] - each["baseline_test_error"] for each in metrics]
    paper = TABLE_1[network].top1 - VGG_BASELINE.top1
    seeds = ", ".join(str(result["summary"]["seed"]) for result in results)
    errors = [each["reconstruction_l2"] for each in metrics]
    return (network, seeds, *(mean(column) for column in columns), mean(differences, "+"), f"{paper:+.2f}", mean(errors))


def mean(values: Sequence[float], sign: str = "") -> str:
    """The mean, with the sample standard deviation where there are several values."""
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{sign}.2f}{deviation}"


def command_of(results: Sequence[dict[str, Any]]) -> str:
    """How the first of a network's runs was started, and how long the stages of all took, those included that they took over."""
    summary = results[0]["summary"]
    others = ", ".join(str(result["summary"]["seed"]) for result in results[1:])
    minutes = sorted(result["summary"]["seconds"] / 60 for result in results)
    duration = f"{minutes[0]:.1f} to {minutes[-1]:.1f} minutes of training on {summary['device']}"
    seeds = f" (and with seeds {others})" if others else ""
    return f"- `{summary['command']}`{seeds}: {duration}, PyTorch {summary['versions']['torch']}"

"""The result of a run in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wwae.recipes import RECIPES
from wwae.training import RunDirectory, TrainingConfiguration

__all__ = ["describe_result", "format_percent", "paper_text"]


def describe_result(configuration: TrainingConfiguration, summary: Mapping[str, Any], directory: RunDirectory) -> str:
    """The last lines of ``wwae train``: the test errors, their difference, the paper's numbers, and where the files are."""
    metrics = summary["metrics"]
    lines = [_heading(configuration, summary)]
    for metric, title in (("test_error", "SWWAE"), ("baseline_test_error", "plain convnet")):
        if metric in metrics:
            paper = paper_text(configuration, metric)
            lines.append(f"  test error, {title:<14} {format_percent(metrics, metric):<16}" + (f"paper: {paper}" if paper else ""))
    if "test_error" in metrics and "baseline_test_error" in metrics:
        lines.append(f"  {_difference(metrics['baseline_test_error'] - metrics['test_error'], configuration.rounds)}")
    if "reconstruction_l2" in metrics:
        lines.append(f"  squared reconstruction error of a test image: {metrics['reconstruction_l2']:.3g}")
    lines += ["", f"pictures  {directory.figures}/reconstructions.png", f"          {directory.figures}/curves.png"]
    lines.append(f"run       {directory.path}")
    return "\n".join(line.rstrip() for line in lines)


def format_percent(metrics: Mapping[str, float], metric: str) -> str:
    """A metric in percent, with its standard deviation over the rounds where there are several."""
    deviation = metrics.get(f"{metric}_std")
    return f"{metrics[metric]:.2f} %" if deviation is None else f"{metrics[metric]:.2f} ± {deviation:.2f} %"


def paper_text(configuration: TrainingConfiguration, metric: str) -> str | None:
    """The paper's number for a metric of a run and where it stands; None where there is none."""
    recipe = RECIPES.get(configuration.recipe)
    result = recipe.paper_result(configuration, metric) if recipe is not None else None
    return None if result is None else f"{result} % ({result.source})"


def _heading(configuration: TrainingConfiguration, summary: Mapping[str, Any]) -> str:
    labels = configuration.data.labels
    which = "all labels" if labels == "all" else f"{labels} labels"
    rounds = "" if configuration.rounds == 1 else f", mean of {configuration.rounds} rounds"
    minutes, seconds = divmod(round(summary["seconds"]), 60)
    duration = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    return f"\n{summary['recipe']}, {which}{rounds}, {summary['epochs']} epochs, {duration} of training"


def _difference(points: float, rounds: int) -> str:
    if abs(points) < 0.005:
        text = "no difference"
    else:
        text = f"difference {abs(points):.2f} points in favour of the {'SWWAE' if points > 0 else 'plain convnet'}"
    return text + (" with this one labelled set; --rounds 5 averages over five" if rounds == 1 else "")

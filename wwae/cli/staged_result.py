"""The result of a run in stages in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wwae.recipes.augmented import network_name
from wwae.training import RunDirectory, StagedConfiguration

__all__ = ["describe_staged_result"]


def describe_staged_result(configuration: StagedConfiguration, summary: Mapping[str, Any], directory: RunDirectory) -> str:
    """The last lines of ``wwae train`` for a run in stages: what each stage reached, and what the decoder gained."""
    minutes, seconds = divmod(round(summary["seconds"]), 60)
    lines = [f"\n{summary['recipe']}, {network_name(configuration)}, {minutes} min {seconds} s of training"]
    for stage, metrics in summary["stages"].items():
        lines.append(f"  {stage:<11}{_describe(metrics)}")
    metrics = summary["metrics"]
    if not metrics:
        lines.append(f"  not all stages are finished: wwae train --resume {directory.path}")
    else:
        gain = metrics["baseline_test_error"] - metrics["test_error"]
        better = "augmented network" if gain > 0 else "control without decoder"
        lines.append(
            f"  difference {abs(gain):.2f} points in favour of the {better}, with this one seed" if gain else "  no difference"
        )
        lines += ["", f"pictures  {directory.figures}/curves.png"]
    lines.append(f"run       {directory.path}")
    return "\n".join(lines)


def _describe(metrics: Mapping[str, float]) -> str:
    words = []
    for name, title in (("test_error", "test error"), ("validation_error", "validation error")):
        if name in metrics:
            words.append(f"{title} {metrics[name]:.2f} %")
    if "layer_l2_image" in metrics:
        words.append(f"squared error of an image from the first macro-layer {metrics['layer_l2_image']:.4g}")
    if "reconstruction_l2" in metrics:
        words.append(f"squared reconstruction error of an image {metrics['reconstruction_l2']:.4g}")
    return ", ".join(words)

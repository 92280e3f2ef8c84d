"""Curves of a run in stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wwae.training.figures import write_png

__all__ = ["draw_staged_curves"]

DECODER_STAGES = ("layerwise", "stacked", "joint")
COLOURS = {"classifier": "#999999", "layerwise": "#009E73", "stacked": "#CC79A7", "joint": "#0072B2", "control": "#D55E00"}
NAMES = {"joint": "augmented", "control": "control, no decoder"}


def draw_staged_curves(rows: Sequence[Mapping[str, str]], start_error: float, path: Path) -> None:
    """Draw the reconstruction losses of the stages, and the test errors of the joint stage and its control, as a PNG.

    The second is figure A-2 of Zhang et al. (2016): it begins at epoch 0 with the classifier that both started from.

    Args:
        rows: rows of ``metrics.csv``, as :meth:`RunDirectory.read_metrics` returns them.
        start_error (float): test error of the classifier of stage 0, in percent.
        path (Path): file to write; it appears whole or not at all.
    """
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for row_name in dict.fromkeys(row["network"] for row in rows if row["network"].startswith(DECODER_STAGES)):
        stage = row_name.split("-")[0]
        of_stage = [row for row in rows if row["network"] == row_name and row["reconstruction_loss"]]
        if of_stage:
            points = [(int(row["step"]), float(row["reconstruction_loss"])) for row in of_stage]
            left.plot(*zip(*points, strict=True), color=COLOURS[stage], linewidth=1.2, label=stage)
    left.set_yscale("log")
    _describe(left, "step of the stage", "reconstruction loss of the images, Σ(x̂ − x)² / 2")
    for stage, name in NAMES.items():
        measured = [(0.0, start_error)] + [
            (float(row["epoch"]), float(row["test_error_percent"]))
            for row in rows
            if row["network"] == stage and row["test_error_percent"]
        ]
        right.plot(*zip(*measured, strict=True), color=COLOURS[stage], marker="o", markersize=3, linewidth=1.2, label=name)
    right.axhline(start_error, color=COLOURS["classifier"], linewidth=0.8, linestyle="--", label="classifier before")
    _describe(right, "epoch of the joint stage", "test error (%)")
    write_png(figure, path)


def _describe(axis: Axes, x: str, y: str) -> None:
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.grid(alpha=0.3)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False)

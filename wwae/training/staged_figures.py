"""Curves of a run in stages."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from wwae.training.figures import write_png

__all__ = ["draw_comparison", "draw_filters", "draw_staged_curves", "error_curve"]

DECODER_STAGES = ("layerwise", "stacked", "joint")
COLOURS = {"classifier": "#999999", "layerwise": "#009E73", "stacked": "#CC79A7", "joint": "#0072B2", "control": "#D55E00"}
# Okabe and Ito's palette.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
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
    _describe(left, "step of the stage", "reconstruction loss of an image, Σ(x̂ − x)²/2")
    for stage, name in NAMES.items():
        measured = error_curve(rows, stage, start_error)
        right.plot(*zip(*measured, strict=True), color=COLOURS[stage], marker="o", markersize=3, linewidth=1.2, label=name)
    right.axhline(start_error, color=COLOURS["classifier"], linewidth=0.8, linestyle="--", label="classifier before")
    _describe(right, "epoch of the joint stage", "test error (%)")
    write_png(figure, path)


def error_curve(rows: Sequence[Mapping[str, str]], stage: str, start_error: float) -> list[tuple[float, float]]:
    """Return epochs and test errors of a stage, from the classifier before it, at epoch 0, on."""
    return [(0.0, start_error)] + [
        (float(row["epoch"]), float(row["test_error_percent"]))
        for row in rows
        if row["network"] == stage and row["test_error_percent"]
    ]


def draw_comparison(curves: Mapping[str, Sequence[Sequence[tuple[float, float]]]], path: Path) -> None:
    """Draw the test errors of several networks over the joint stage, each the mean of its runs, as a PNG (figure A-2 for all).

    Args:
        curves: name of a network to the curves of its runs, from :func:`error_curve`; epochs that not all its runs have measured
            are left out. The control comes first and is drawn dashed.
        path (Path): file to write; it appears whole or not at all.
    """
    figure = Figure(figsize=(7.6, 4.0), layout="constrained")
    axis = figure.subplots()
    for number, (name, runs) in enumerate(curves.items()):
        by_run = [dict(run) for run in runs]
        epochs = sorted(set.intersection(*(set(run) for run in by_run)))
        errors = [statistics.fmean(run[epoch] for run in by_run) for epoch in epochs]
        colour, line = ("#000000", "--") if number == 0 else (PALETTE[(number - 1) % len(PALETTE)], "-")
        label = name if len(runs) == 1 else f"{name} (mean of {len(runs)})"
        axis.plot(epochs, errors, color=colour, linestyle=line, marker="o", markersize=3, linewidth=1.2, label=label)
    _describe(axis, "epoch of the joint stage", "test error (%)", legend=False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    write_png(figure, path)


def draw_filters(filters: Mapping[str, Tensor], path: Path) -> None:
    """Draw the first-layer filters of several networks side by side, as figure A-1 of Zhang et al. (2016), as a PNG.

    All have one scale: mid grey is 0, and black and white (or full colour) are minus and plus the largest weight of any of them.

    Args:
        filters: title to weights (M, C, KH, KW), where C is 1 (grey) or 3 (RGB); filters of other C are averaged to grey.
        path (Path): file to write; it appears whole or not at all.
    """
    largest = max(float(weight.detach().abs().max()) for weight in filters.values()) or 1.0
    figure = Figure(figsize=(3.6 * len(filters), 4.0), layout="constrained")
    axes = figure.subplots(1, len(filters), squeeze=False)[0]
    for axis, (title, weight) in zip(axes, filters.items(), strict=True):
        weight = weight.detach().float().cpu()
        pictures = weight if weight.shape[1] == 3 else weight.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        columns = math.ceil(math.sqrt(len(pictures)))
        empty = -len(pictures) % columns
        cells = F.pad((pictures / largest + 1) / 2, (0, 1, 0, 1), value=1.0)
        cells = torch.cat([cells, torch.ones(empty, *cells.shape[1:])])
        rows = [torch.cat(list(row), 2) for row in cells.split(columns)]
        axis.imshow(torch.cat(rows, 1)[:, :-1, :-1].permute(1, 2, 0).numpy(), interpolation="nearest")
        axis.set_title(f"{title}: {len(pictures)} filters of {weight.shape[2]}×{weight.shape[3]}", fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.supxlabel(f"weights from −{largest:.2f} (black) over 0 (grey) to {largest:.2f} (white)", fontsize=8)
    write_png(figure, path)


def _describe(axis: Axes, x: str, y: str, legend: bool = True) -> None:
    axis.set_xlabel(x)
    axis.set_ylabel(y, fontsize=9)
    axis.grid(alpha=0.3)
    if legend and axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False)

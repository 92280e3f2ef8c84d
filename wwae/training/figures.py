"""Pictures of a run."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from wwae.training.checkpoints import write_atomically
from wwae.training.dataset import to_float

__all__ = ["draw_curves", "reconstruction_gallery", "write_png"]

DOTS_PER_INCH = 150
# Okabe and Ito's palette: told apart by colour-blind readers, too.
COLOURS = {"swwae": "#0072B2", "convnet": "#D55E00"}
LOSSES = (
    ("nll_nats", "classification loss (nats)"),
    ("reconstruction_loss", "reconstruction loss ({form})"),
    ("middle_loss", "middle loss ({form})"),
)
ERRORS = (("test_error_percent", "test error (%)"), ("validation_error_percent", "validation error (%)"))


def draw_curves(rows: Sequence[Mapping[str, str]], form: str, path: Path) -> None:
    """Draw losses and errors over the epochs, one line for each network of each round, and write them as a PNG.

    Args:
        rows: rows of ``metrics.csv``, as :meth:`RunDirectory.read_metrics` returns them.
        form: ``loss.form``, the unit of the reconstruction losses.
        path: file to write; it appears whole or not at all.
    """
    panels = [(column, title.format(form=form)) for column, title in (*LOSSES, *ERRORS) if any(row[column] for row in rows)]
    figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (column, title) in zip(axes, panels, strict=True):
        lines: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for row in rows:
            if row[column]:
                lines.setdefault((row["network"], row["round"]), []).append((float(row["epoch"]), float(row[column])))
        labelled = set()
        for (network, _), points in lines.items():
            marker = "o" if len(points) < 30 else None
            label = None if network in labelled else network
            labelled.add(network)
            axis.plot(
                *zip(*points, strict=True),
                color=COLOURS[network],
                marker=marker,
                markersize=3,
                linewidth=1.2,
                label=label,
            )
        if not column.endswith("_percent"):
            axis.set_yscale("log")
        axis.set_xlabel("epoch")
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    write_png(figure, path)


def reconstruction_gallery(images: Tensor, reconstructions: Mapping[str, Tensor], path: Path) -> None:
    """Draw images and their reconstructions side by side, one image a row, and write them as a PNG.

    Args:
        images (Tensor[N, C, H, W], float32 in [0, 1] | uint8): the originals; C is 1 (grey) or 3 (RGB).
        reconstructions: title of a column to its images (N, C, H, W), such as ``{"known": ..., "fixed": ...,
        "upsample":
            ...}``; values outside [0, 1] are drawn as the nearest of the two.
        path: file to write; it appears whole or not at all.

    Raises:
        ValueError: a tensor's shape is not that of the images, there are none, or C is neither 1 nor 3.
    """
    if images.dim() != 4 or len(images) == 0 or images.shape[1] not in (1, 3):
        raise ValueError(f"reconstruction_gallery: expected images of shape [N, 1 or 3, H, W], got {list(images.shape)}")
    for title, reconstruction in reconstructions.items():
        if reconstruction.shape != images.shape:
            raise ValueError(
                f"reconstruction_gallery: expected {title} of shape {list(images.shape)}, got {list(reconstruction.shape)}"
            )
    columns = {"original": to_float(images), **reconstructions}
    gap = max(1, images.shape[3] // 12)  # pixels of paper between two pictures
    height, width = images.shape[2] + gap, images.shape[3] + gap
    tiles = torch.cat([F.pad(pictures.detach().float().cpu(), (0, gap, 0, gap), value=1) for pictures in columns.values()], 3)
    sheet = torch.cat(list(tiles), 1)[:, :-gap, :-gap].clamp(0, 1).permute(1, 2, 0)
    cell = max(1.0, width / DOTS_PER_INCH)  # inches: one dot or more for each pixel
    size = (cell * len(columns) + 0.6, cell * len(images) * height / width + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    axis = figure.subplots()
    axis.imshow(sheet.expand(-1, -1, 3).numpy(), interpolation="nearest")
    axis.set_xticks([(column + 0.5) * width - gap / 2 for column in range(len(columns))], list(columns))
    axis.set_yticks([(row + 0.5) * height - gap / 2 for row in range(len(images))], [str(n + 1) for n in range(len(images))])
    axis.tick_params(length=0, labelsize=8, top=True, labeltop=True, bottom=False, labelbottom=False)
    axis.set_ylabel("image", fontsize=8)
    axis.spines[:].set_visible(False)
    write_png(figure, path)


def write_png(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG that appears whole or not at all."""
    content = io.BytesIO()
    figure.set_dpi(DOTS_PER_INCH)
    FigureCanvasAgg(figure).print_png(content)
    write_atomically(path, content.getvalue())

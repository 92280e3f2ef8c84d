"""Pictures of a run."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from wwae.training.checkpoints import write_atomically
from wwae.training.dataset import to_float

__all__ = ["draw_curves", "reconstruction_gallery"]

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
    _write_png(figure, path)


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
    height, width = images.shape[2:]
    cell = 1.1
    figure = Figure(figsize=(cell * len(columns) * width / height + 0.5, cell * len(images) + 0.3), layout="constrained")
    axes = figure.subplots(len(images), len(columns), squeeze=False)
    for column, (title, pictures) in enumerate(columns.items()):
        for row, picture in enumerate(pictures.detach().float().cpu().clamp(0, 1)):
            axis = axes[row, column]
            # imshow takes grey pictures as (H, W) and coloured ones as (H, W, 3).
            axis.imshow(picture.permute(1, 2, 0).squeeze(2).numpy(), cmap="gray", vmin=0, vmax=1)
            axis.set_xticks([])
            axis.set_yticks([])
            if row == 0:
                axis.set_title(title, fontsize=9)
            if column == 0:
                axis.set_ylabel(f"image {row + 1}", fontsize=7)
    _write_png(figure, path)


def _write_png(figure: Figure, path: Path) -> None:
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    write_atomically(path, content.getvalue())

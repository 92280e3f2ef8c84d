"""Pictures of what switches carry: reconstructions from each layer with known, fixed, shuffled and zeroed switches."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import torch
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor

from wwae.models import AugmentedClassifier
from wwae.models.augment import SwitchSource
from wwae.training.configuration import ConfigurationError
from wwae.training.dataset import to_float
from wwae.training.evaluation import evaluating
from wwae.training.figures import DOTS_PER_INCH, write_png

__all__ = ["Reconstructions", "choose_layers", "psnr", "reconstruct_with_switches", "switch_gallery"]

Reconstructions = dict[str, dict[str, Tensor]]
"""For each layer, for each source of switches, the reconstructions (N, C, H, W)."""


def psnr(reconstruction: Tensor, images: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of every image, in dB: ``-10 log10`` of its mean squared error.

    Args:
        reconstruction (Tensor[N, C, H, W]): clamped to [0, 1] before.
        images (Tensor[N, C, H, W]): in [0, 1].

    Returns:
        Tensor[N], float64.

    Raises:
        ValueError: the two have different shapes.
    """
    if reconstruction.shape != images.shape:
        raise ValueError(f"psnr: expected a reconstruction of shape {list(images.shape)}, got {list(reconstruction.shape)}")
    error = (reconstruction.clamp(0, 1).double() - images.double()).square().mean((1, 2, 3))
    return -10 * error.log10()


def choose_layers(setting: str, wanted: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the wanted ones of the layers that a network can be inverted from, in its order; all where none is wanted.

    Raises:
        ConfigurationError: there is no such layer; the message begins with ``setting`` and names the nearest one.
    """
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"{setting}: expected some of {', '.join(known)}, got {name!r}{hint}")
    return tuple(name for name in known if not wanted or name in wanted)


def reconstruct_with_switches(
    model: AugmentedClassifier,
    images: Tensor,
    layers: Sequence[str] | None = None,
    sources: Sequence[SwitchSource] = get_args(SwitchSource),
) -> Reconstructions:
    """Reconstruct images with the decoder of one model from several of its layers, with switches from several sources.

    Args:
        model (AugmentedClassifier): such as an AlexNet inversion; it runs in evaluation mode.
        images (Tensor[N, C, H, W], float32 in [0, 1] | uint8): for ``"shuffled"``, each takes the switches of the one before. A
            single image takes those of its mirror image.
        layers (sequence of str | None): among ``model.layer_names``; default all.
        sources (sequence of str): as for :meth:`AugmentedClassifier.reconstruct`.

    Returns:
        For each layer, for each source: Tensor[N, C, H, W], float32 on the CPU, not clamped.

    Raises:
        ValueError: a layer or a source is none of the model's.
    """
    device = next(model.parameters()).device
    x = to_float(images.to(device))
    pictures = torch.cat([x, x.flip(3)]) if len(x) == 1 else x
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    with evaluating(model):
        return {
            layer: {source: model.reconstruct(pictures, layer, source)[: len(x)].float().cpu() for source in sources}
            for layer in (model.layer_names if layers is None else layers)
        }


def switch_gallery(images: Tensor, reconstructions: Mapping[str, Mapping[str, Tensor]], path: Path) -> None:
    """Draw images and their reconstructions as a PNG: for each image a row for each source of switches, a column for each layer.

    The PSNR stands under each reconstruction.

    Args:
        images (Tensor[N, C, H, W], float32 in [0, 1] | uint8): the originals; C is 1 (grey) or 3 (RGB).
        reconstructions: as :func:`reconstruct_with_switches` returns them; every layer has the same sources. Values outside [0, 1]
            are drawn as the nearest of the two.
        path: file to write; it appears whole or not at all.

    Raises:
        ValueError: a tensor's shape is not that of the images, there are none, or C is neither 1 nor 3.
    """
    if images.dim() != 4 or len(images) == 0 or images.shape[1] not in (1, 3):
        raise ValueError(f"switch_gallery: expected images of shape [N, 1 or 3, H, W], got {list(images.shape)}")
    for layer, kinds in reconstructions.items():
        for source, each in kinds.items():
            if each.shape != images.shape:
                raise ValueError(
                    f"switch_gallery: expected {layer}, {source} of shape {list(images.shape)}, got {list(each.shape)}"
                )
    originals = to_float(images).cpu()
    layers = list(reconstructions)
    sources = list(reconstructions[layers[0]])
    rows, columns = len(images) * len(sources), 1 + len(layers)
    # Inches, one dot or more for each pixel, at least as wide as the text under it.
    width = max(0.9, images.shape[3] / DOTS_PER_INCH)
    height = width * images.shape[2] / images.shape[3] + 0.2
    figure = Figure(
        figsize=(columns * width * 1.05 + 0.5, rows * height * 1.04 + 0.3),
        layout=ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01),
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
    for number, image in enumerate(originals):
        _show(axes[number * len(sources)][0], image)
        for position, source in enumerate(sources):
            row = axes[number * len(sources) + position]
            row[0].set_ylabel(source, fontsize=7)
            for axis, layer in zip(row[1:], layers, strict=True):
                each = reconstructions[layer][source][number]
                _show(axis, each)
                axis.set_xlabel(f"{float(psnr(each[None], image[None])):.1f} dB", fontsize=6, labelpad=1)
    for axis, title in zip(axes[0], ["original", *layers], strict=True):
        axis.set_title(title, fontsize=7, pad=2)
    write_png(figure, path)


def _show(axis: object, picture: Tensor) -> None:
    pixels = picture.detach().float().clamp(0, 1).permute(1, 2, 0)
    axis.imshow(pixels.expand(-1, -1, 3).numpy(), interpolation="nearest")  # type: ignore[attr-defined]

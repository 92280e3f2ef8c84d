"""An augmented classifier as a diagram: Zhang, Lee and Lee (2016, arXiv:1606.06582), figure 2.

The encoder goes up on the left, its decoders come down on the right. Matplotlib draws it; it is needed here only.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from torch import nn

from wwae.models.alexnet import AlexNetInversion
from wwae.models.augment import AugmentedClassifier
from wwae.models.macro_layers import MacroLayer

__all__ = ["FIGURE_SUFFIXES", "draw_diagram"]

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")

# Okabe and Ito's palette: told apart by colour-blind readers, too.
_ENCODER, _DECODER, _SWITCH, _LOSS = "#56B4E9", "#009E73", "#D55E00", "#CC79A7"
_LEFT, _RIGHT, _WIDTH, _HEIGHT, _STEP = 0.0, 6.2, 3.4, 0.62, 1.25


def draw_diagram(model: AugmentedClassifier, path: Path | str, title: str = "") -> None:
    """Draw the macro-layers, the decoders, the routes of the switches and the losses.

    Args:
        model (AugmentedClassifier): of any variant; its parameters may be on the meta device.
        path (Path | str): ``.png``, ``.svg`` or ``.pdf``.
        title (str): above the picture.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the path ends in none of these.
    """
    if Path(path).suffix.lower() not in FIGURE_SUFFIXES:
        raise ValueError(f"draw_diagram: expected a file that ends in {', '.join(FIGURE_SUFFIXES)}, got {path}")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("draw_diagram needs matplotlib: pip install matplotlib") from error
    names = ["image", *(layer.name for layer in model.macro_layers)]
    inner = model.mirrored_inner_products if isinstance(model, AlexNetInversion) else {}
    count = len(names) + len(inner)
    figure = Figure(figsize=(9.2, 0.62 * count * _STEP + 1.7), layout="constrained")
    axis = figure.subplots()
    axis.set(xlim=(-0.5, _RIGHT + _WIDTH + 3.0), ylim=(-0.3, count * _STEP + _HEIGHT + 0.3))
    axis.set_axis_off()
    axis.set_title(title or f"{model.variant}, {model.switches} switches", fontsize=10)
    _box(axis, _LEFT, 0, f"image\n{model.macro_layers[0].channels[0]} channels", "white")
    for level, layer in enumerate(model.macro_layers, start=1):
        _box(axis, _LEFT, level, f"{layer.name}: {_contents(layer)}\n{layer.channels[0]} → {layer.channels[-1]} maps", _ENCODER)
        _arrow(axis, (_LEFT + _WIDTH / 2, (level - 1) * _STEP + _HEIGHT), (_LEFT + _WIDTH / 2, level * _STEP))
        _box(axis, _RIGHT, level, f"decoder of {layer.name}\n{layer.channels[-1]} → {layer.channels[0]} maps", _DECODER)
        if layer.pools:
            _switches(axis, level, model.switches)
        _reconstruction(axis, level, names[level - 1], has_loss=level == 1 or model.variant != "first")
    _tops(axis, model, len(names) - 1, inner)
    _classifier(axis, count)
    figure.savefig(path, dpi=150)


def _contents(layer: MacroLayer) -> str:
    convolutions = len(layer.convolutions)
    words = [f"{convolutions} convolution{'s' * (convolutions != 1)}"]
    for (height, width), count in Counter(layer.operations[each].detail.kernel_size for each in layer.pools).items():
        words.append(f"pool {height}x{width}" if count == 1 else f"{count} pools {height}x{width}")
    return ", ".join(words)


def _box(axis: Any, left: float, level: float, text: str, colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    box = FancyBboxPatch((left, level * _STEP), _WIDTH, _HEIGHT, boxstyle="round,pad=0.06", facecolor=colour, alpha=0.35)
    axis.add_patch(box)
    box.set_edgecolor("#444444")
    axis.text(left + _WIDTH / 2, level * _STEP + _HEIGHT / 2, text, ha="center", va="center", fontsize=7)


def _arrow(axis: Any, start: tuple[float, float], end: tuple[float, float], colour: str = "#444444", style: str = "-") -> None:
    properties = {"arrowstyle": "-|>", "color": colour, "linestyle": style, "shrinkA": 3, "shrinkB": 3}
    axis.annotate("", xy=end, xytext=start, arrowprops=properties)


def _switches(axis: Any, level: int, kind: str) -> None:
    """The route of a pool's switches to its unpooling, or the note that there is none."""
    height = level * _STEP + 0.75 * _HEIGHT
    middle = (_LEFT + _WIDTH + _RIGHT) / 2
    if kind == "known":
        _arrow(axis, (_LEFT + _WIDTH, height), (_RIGHT, height), _SWITCH, "--")
        axis.text(middle, height + 0.05, "switches", ha="center", va="bottom", fontsize=6.5, color=_SWITCH)
    else:
        axis.text(_RIGHT - 0.12, height, "fixed switches", ha="right", va="center", fontsize=6.5, color=_SWITCH)


def _reconstruction(axis: Any, level: int, below: str, has_loss: bool) -> None:
    """The arrow from a decoder to what it reconstructs, and the loss there."""
    x, y = _RIGHT + _WIDTH / 2, level * _STEP
    _arrow(axis, (x, y), (x, y - _STEP + _HEIGHT))
    if level == 1:
        _box(axis, _RIGHT, 0, "reconstruction\nof the image", "white")
    if has_loss:
        where = y - (_STEP - _HEIGHT) / 2 if level > 1 else 0.5 * _HEIGHT
        text = f"loss: distance to {'the image' if below == 'image' else below}"
        axis.text(_RIGHT + _WIDTH + 0.2, where, text, ha="left", va="center", fontsize=7, color=_LOSS)


def _tops(axis: Any, model: AugmentedClassifier, top: int, inner: dict[str, tuple[str, nn.Linear]]) -> None:
    """Where the decoders start: at the last map, layer-wise at every one, after inner products at theirs."""
    layerwise = range(1, top + len(inner) + 1) if model.variant == "layerwise" else ()
    for number, (name, (_, module)) in enumerate(inner.items(), start=top + 1):
        _box(axis, _LEFT, number, f"{name}: inner product\n{module.in_features} → {module.out_features}", _ENCODER)
        _box(axis, _RIGHT, number, f"decoder of {name}\n{module.out_features} → {module.in_features}", _DECODER)
        _arrow(axis, (_LEFT + _WIDTH / 2, (number - 1) * _STEP + _HEIGHT), (_LEFT + _WIDTH / 2, number * _STEP))
        _reconstruction(axis, number, model.layer_names[number - 2], has_loss=model.variant != "first")
    for level in layerwise or (top + len(inner),):
        height = level * _STEP + 0.25 * _HEIGHT
        _arrow(axis, (_LEFT + _WIDTH, height), (_RIGHT, height))
        axis.text((_LEFT + _WIDTH + _RIGHT) / 2, height - 0.05, "map", ha="center", va="top", fontsize=6.5)


def _classifier(axis: Any, level: int) -> None:
    x = _LEFT + _WIDTH / 2
    _box(axis, _LEFT, level, "the rest of the classifier\nscores", "white")
    _arrow(axis, (x, (level - 1) * _STEP + _HEIGHT), (x, level * _STEP))
    axis.text(_LEFT + _WIDTH + 0.2, level * _STEP + _HEIGHT / 2, "loss: classification", va="center", fontsize=7, color=_LOSS)

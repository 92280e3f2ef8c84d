"""``wwae models``: the augmented classifiers by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from wwae.cli.parser import CommandParser, UsageError, unknown
from wwae.models import AugmentedClassifier, alexnet_inversion, augment
from wwae.models.alexnet import AlexNetForm
from wwae.models.diagram import FIGURE_SUFFIXES, draw_diagram
from wwae.models.summary import summarise
from wwae.models.vgg import AUGMENTED_VGGS

__all__ = ["run"]

INVERSIONS: dict[str, AlexNetForm] = {"alexnet_inversion": "caffenet", "torchvision_alexnet_inversion": "torchvision"}
"""Each starts at the layer of --from-layer, from conv1 to fc8."""

DESCRIPTION = """\
List the augmented classifiers that have a name, or show one as a table: its macro-layers, their parameters and those of
the decoders, and where each unpooling takes its switches from. 'show' also takes the name of a classifier of torchvision,
which it augments with --variant and --switches. No weights are made or loaded."""


def run(arguments: Sequence[str]) -> None:
    """Run the command on the words after ``wwae models``.

    Raises:
        UsageError: a name is missing or unknown, or the network can't be mirrored.
    """
    parser = CommandParser("models", DESCRIPTION)
    parser.add_argument("action", choices=("list", "show"), nargs="?", default="list", help="what to do; default: list")
    parser.add_argument("name", nargs="?", help="such as vgg16_swwae_all or resnet18")
    parser.add_argument("--from-layer", default="last", metavar="NAME", help="where decoding starts, such as pool3; default: last")
    parser.add_argument("--variant", choices=("first", "all", "layerwise"), help="for a classifier of torchvision; default: all")
    parser.add_argument("--switches", choices=("known", "fixed"), help="for a classifier of torchvision; default: known")
    parser.add_argument("--figure", metavar="FILE", type=Path, help="also draw it as a diagram: .png, .svg or .pdf")
    options = parser.parse(arguments)
    if options.action == "list":
        if options.name is not None:
            raise UsageError(f"unexpected argument {options.name!r}")
        print("\n".join([*AUGMENTED_VGGS, *INVERSIONS]))
        return
    if options.name is None:
        raise UsageError("show needs the name of a model; 'wwae models' lists them")
    if options.figure is not None:
        _require_figure(options.figure)
    try:
        model = _build(options.name, options.from_layer, options.variant, options.switches)
    except (ValueError, ImportError) as error:
        raise UsageError(str(error)) from error
    print(f"{options.name}: {model.variant}, {model.switches} switches\n")
    print(summarise(model))
    if options.figure is not None:
        draw_diagram(model, options.figure, f"{options.name}: {model.variant}, {model.switches} switches")
        print(f"\ndiagram: {options.figure}")


def _require_figure(path: Path) -> None:
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        raise UsageError(f"--figure: expected a file that ends in {', '.join(FIGURE_SUFFIXES)}, got {path}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--figure: expected a file in an existing directory, got {path}")


def _build(name: str, from_layer: str, variant: str | None, switches: str | None) -> AugmentedClassifier:
    # Tensors of the meta device have shapes and no values.
    with torch.device("meta"):
        if name in AUGMENTED_VGGS:
            for option, given in (("--variant", variant), ("--switches", switches)):
                if given is not None:
                    raise UsageError(f"{option} is a part of the name {name}")
            return AUGMENTED_VGGS[name](from_layer)
        if name in INVERSIONS:
            if variant is not None:
                raise UsageError(f"--variant is first for {name}")
            layer = "fc8" if from_layer == "last" else from_layer
            return alexnet_inversion(layer, switches or "known", INVERSIONS[name])  # type: ignore[arg-type]
        from torchvision import models

        classifiers = models.list_models(module=models)
        if name not in classifiers:
            raise UsageError(unknown("model", name, [*AUGMENTED_VGGS, *INVERSIONS, *classifiers]))
        settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        return augment(models.get_model(name, **settings), variant or "all", switches or "known", from_layer)  # type: ignore[arg-type]

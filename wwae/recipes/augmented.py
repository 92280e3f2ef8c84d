"""What the recipes of Zhang, Lee and Lee share: a classifier, augmented six ways and trained in stages.

"Augmenting Supervised Neural Networks with Unsupervised Objectives for Large-scale Image Classification", 2016, arXiv:1606.06582,
sections 4.1 and 4.3, Tables 1 and A-1.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

from wwae.recipes.recipe import Recipe
from wwae.training import StagedConfiguration

__all__ = ["TABLE_1", "VGG_BASELINE", "TableRow", "augmented_recipes", "network_name"]

_SWITCHES = {"sae": "fixed", "swwae": "known"}
_VARIANTS = ("first", "all", "layerwise")


class TableRow(NamedTuple):
    """Errors on the validation set of ImageNet, in percent: Table 1, single crop and convolution, top-1 and top-5."""

    top1: float
    top5: float
    convolution_top1: float
    convolution_top5: float


VGG_BASELINE = TableRow(29.05, 10.07, 26.97, 8.94)
"""Table 1, VGGNet."""

TABLE_1 = {
    "SAE-first": TableRow(27.70, 9.28, 26.09, 8.30),
    "SAE-all": TableRow(27.54, 9.17, 26.10, 8.21),
    "SAE-layerwise": TableRow(27.60, 9.19, 26.06, 8.17),
    "SWWAE-first": TableRow(27.60, 9.23, 25.87, 8.14),
    "SWWAE-all": TableRow(27.39, 9.06, 25.79, 8.13),
    "SWWAE-layerwise": TableRow(27.53, 9.10, 25.97, 8.20),
}
"""Table 1, the networks that are augmented from VGGNet."""


def network_name(configuration: StagedConfiguration) -> str:
    """The paper's name of an augmented network, such as ``SWWAE-all``."""
    family = next(name for name, switches in _SWITCHES.items() if switches == configuration.model.switches)
    return f"{family.upper()}-{configuration.model.variant}"


def augmented_recipes(prefix: str, data: str, aim: str, settings: Callable[[], StagedConfiguration]) -> tuple[Recipe, ...]:
    """Make the six recipes ``PREFIX-{sae,swwae}-{first,all,layerwise}``, which differ in variant and switches alone.

    Args:
        prefix (str): data set and network, such as ``mnist-vgg``.
        data (str): what is learnt, in words.
        aim (str): the paper's number, or that there is none.
        settings: makes what the six have in common.
    """
    return tuple(
        _recipe(prefix, family, variant, data, aim, settings) for family, variant in itertools.product(_SWITCHES, _VARIANTS)
    )


def _recipe(prefix: str, family: str, variant: str, data: str, aim: str, settings: Callable[[], StagedConfiguration]) -> Recipe:
    name = f"{prefix}-{family}-{variant}"

    def configuration() -> StagedConfiguration:
        return settings().updated({"recipe": name, "model": {"variant": variant, "switches": _SWITCHES[family]}})

    summary = f"{data}: augmented as {family.upper()}-{variant}, in stages, beside its control without decoder"
    return Recipe(name=name, summary=summary, aim=aim, configuration=configuration)

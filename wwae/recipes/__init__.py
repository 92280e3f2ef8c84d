"""One recipe per experiment, by name."""

from __future__ import annotations

import difflib

from wwae.recipes import digits, digits_vgg, fashion_mnist_swwae, mnist_swwae, squeezenet_inversion
from wwae.recipes.recipe import PaperResult, Recipe
from wwae.training.configuration import ConfigurationError

__all__ = ["RECIPES", "PaperResult", "Recipe", "find_recipe"]

_MODULES = (digits, mnist_swwae, fashion_mnist_swwae, digits_vgg, squeezenet_inversion)
RECIPES = {module.RECIPE.name: module.RECIPE for module in _MODULES}


def find_recipe(name: str) -> Recipe:
    """Return the recipe called ``name``.

    Raises:
        ConfigurationError: there is none; the nearest name is given, or all of them.
    """
    if name in RECIPES:
        return RECIPES[name]
    near = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(RECIPES)}"
    raise ConfigurationError(f"unknown recipe {name!r}, {hint}")

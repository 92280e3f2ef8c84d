"""One recipe per experiment, by name."""

from __future__ import annotations

import difflib

from wwae.recipes import (
    alexnet_inversion,
    cifar10_vgg,
    digits,
    digits_vgg,
    fashion_mnist_swwae,
    mnist_swwae,
    mnist_vgg,
    squeezenet_inversion,
    vgg16,
)
from wwae.recipes.recipe import PaperResult, Recipe
from wwae.training.configuration import ConfigurationError

__all__ = ["RECIPES", "PaperResult", "Recipe", "find_recipe"]

RECIPES = {
    recipe.name: recipe
    for recipe in (
        digits.RECIPE,
        mnist_swwae.RECIPE,
        fashion_mnist_swwae.RECIPE,
        digits_vgg.RECIPE,
        squeezenet_inversion.RECIPE,
        alexnet_inversion.RECIPE,
        *mnist_vgg.RECIPES,
        *cifar10_vgg.RECIPES,
        *vgg16.RECIPES,
    )
}


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

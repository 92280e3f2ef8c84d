"""``wwae recipes``: the experiments by name."""

from __future__ import annotations

from collections.abc import Sequence

from wwae.cli.parser import CommandParser
from wwae.recipes import RECIPES

__all__ = ["run"]

DESCRIPTION = "List the recipes: what each trains, and the number of the paper that it aims at."


def run(arguments: Sequence[str]) -> None:
    """Run the command on the words after ``wwae recipes``."""
    CommandParser("recipes", DESCRIPTION).parse(arguments)
    width = max(map(len, RECIPES))
    for recipe in RECIPES.values():
        print(f"{recipe.name:<{width}}  {recipe.summary}")
        print(f"{'':<{width}}  aim: {recipe.aim}")
    print("\n'wwae train NAME' runs one, 'wwae train NAME --help' shows its settings.")

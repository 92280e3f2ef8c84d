"""``fashion-mnist-swwae``: the ``mnist-swwae`` experiment on Fashion-MNIST.

The run in numbers is that of ``mnist-swwae``, with 60,000 training and 10,000 test images of the same size. The paper
(Zhao et al. 2015) is older than the data set (Xiao, Rasul, Vollgraf: Fashion-MNIST, 2017, arXiv:1708.07747) and has no
number for it; the comparison is with the convnet of the same configuration, trained beside it.
"""

from __future__ import annotations

from wwae.recipes.mnist_swwae import mnist_swwae
from wwae.recipes.recipe import Recipe
from wwae.training.configuration import TrainingConfiguration

__all__ = ["RECIPE", "fashion_mnist_swwae"]


def fashion_mnist_swwae() -> TrainingConfiguration:
    """The settings of ``mnist-swwae`` on the other images."""
    return mnist_swwae().updated({"recipe": "fashion-mnist-swwae", "data": {"dataset": "fashion-mnist"}})


RECIPE = Recipe(
    name="fashion-mnist-swwae",
    summary="Fashion-MNIST with few labels and the rest unlabelled: SWWAE beside the plain convnet",
    aim="the paper has no number for this data set",
    configuration=fashion_mnist_swwae,
)

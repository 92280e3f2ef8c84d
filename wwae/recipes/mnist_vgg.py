"""``mnist-vgg-{sae,swwae}-{first,all,layerwise}``: the experiment of Zhang et al. with a small VGG on few labels of MNIST."""

from __future__ import annotations

from wwae.recipes.augmented import augmented_recipes
from wwae.recipes.digits_vgg import small_vgg
from wwae.training import StagedConfiguration

__all__ = ["RECIPES", "mnist_vgg"]


def mnist_vgg() -> StagedConfiguration:
    """What the six have in common."""
    return small_vgg().updated(
        {
            "epochs": 40,
            "data": {"dataset": "mnist", "labels": 200, "image_size": 28, "train_images": 5_000},
            "classifier": {"epochs": 40},
            "layerwise": {"epochs": 1},
            "stacked": {"epochs": 1},
            "joint": {"lr": 1e-2},
            "run": {"log_every": 50, "evaluate_every": 20, "checkpoint_every": 200},
        }
    )


RECIPES = augmented_recipes(
    "mnist-vgg", "MNIST, 200 labels and 4,800 images without", "the paper has no number for this data set", mnist_vgg
)

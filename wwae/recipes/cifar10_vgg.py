"""``cifar10-vgg-{sae,swwae}-{first,all,layerwise}``: the experiment of Zhang et al. with a small VGG on a tenth of CIFAR-10.

The network is that of ``digits-vgg-swwae-all`` with three channels; as in the paper every image has its label. The run in numbers:

    images        5,000 for training, drawn at random, and 10,000 for testing, 32×32; ``--data.train_images all`` takes the 50,000
    classifier    16 epochs of 78 steps, 64 images each: it stops before it has learnt the training images by heart
    layer-wise    one epoch of 312 steps, 16 images each; stacked the same
    joint         8 epochs of 78 steps, 64 images each, and as many of the control
    time          8 minutes on one processor core that others use, too

Rates are those of the digits divided by 3 and 5 for the brighter, coloured images; λ = 0.001 makes the weighted reconstruction
losses a tenth of the classification loss, and was not tuned.
"""

from __future__ import annotations

from wwae.recipes.augmented import augmented_recipes
from wwae.recipes.digits_vgg import small_vgg
from wwae.training import StagedConfiguration

__all__ = ["RECIPES", "cifar10_vgg"]


def cifar10_vgg() -> StagedConfiguration:
    """What the six have in common."""
    return small_vgg().updated(
        {
            "epochs": 8,
            "data": {"dataset": "cifar10", "labels": "all", "image_size": 32, "train_images": 5_000},
            "model": {"dropout": 0.2},
            "loss": {"reconstruction": 1e-3},
            "classifier": {"epochs": 16, "batch_size": 64},
            "layerwise": {"epochs": 1, "rates": (1e-4, 1e-4, 3e-4)},
            "stacked": {"epochs": 1, "lr": 2e-5},
            "joint": {"batch_size": 64, "unlabelled_batch_size": 0},
            "run": {"log_every": 20, "evaluate_every": 4, "checkpoint_every": 200},
        }
    )


RECIPES = augmented_recipes(
    "cifar10-vgg", "CIFAR-10, 5,000 images with their labels", "the paper has no number for this data set", cifar10_vgg
)

"""``mnist-vgg-{sae,swwae}-{first,all,layerwise}``: the experiment of Zhang et al. with a small VGG on few labels of MNIST.

The network is that of ``digits-vgg-swwae-all``; the run in numbers:

    images        5,000 for training, drawn at random (200 labelled, 4,800 not), and 10,000 for testing, 28×28
    classifier    40 epochs of 10 steps, 20 labelled images each
    layer-wise    one epoch of 312 steps, 16 images each; stacked the same
    joint         40 epochs of 10 steps, 20 labelled and 40 unlabelled images each; the control the labelled ones alone
    time          5 minutes on one processor core that others use, too

The six share a classifier and its control, and three of them each their layer-wise decoders: ``--start-from DIR`` takes them over.
"""

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

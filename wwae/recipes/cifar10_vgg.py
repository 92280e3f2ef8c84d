"""``cifar10-vgg-{sae,swwae}-{first,all,layerwise}``: the experiment of Zhang et al. with a small VGG on CIFAR-10, all labels."""

from __future__ import annotations

from wwae.recipes.augmented import augmented_recipes
from wwae.recipes.digits_vgg import small_vgg
from wwae.training import StagedConfiguration

__all__ = ["RECIPES", "cifar10_vgg"]


def cifar10_vgg() -> StagedConfiguration:
    """What the six have in common."""
    return small_vgg().updated(
        {
            "epochs": 20,
            "data": {"dataset": "cifar10", "labels": "all", "image_size": 32},
            "model": {"network": "(64)3c-(64)3c-2p-(128)3c-(128)3c-2p-(256)3c-(256)3c-2p-256fc-10fc"},
            "classifier": {"epochs": 40, "batch_size": 64, "weight_decay": 5e-4},
            "layerwise": {"epochs": 1},
            "stacked": {"epochs": 1},
            "joint": {"batch_size": 64, "unlabelled_batch_size": 0, "weight_decay": 5e-4},
            "run": {"log_every": 100, "evaluate_every": 1, "checkpoint_every": 500},
        }
    )


RECIPES = augmented_recipes("cifar10-vgg", "CIFAR-10, all labels", "the paper has no number for this data set", cifar10_vgg)

"""``digits-vgg-swwae-all``: the four steps of Zhang et al. on a small VGG and scikit-learn's digits; nothing to download.

The run in numbers:

TODO
"""

from __future__ import annotations

from wwae.recipes.augmented import augmented_recipes
from wwae.training import StagedConfiguration
from wwae.training.configuration import DataConfiguration, RunConfiguration
from wwae.training.staged_configuration import (
    AugmentedLossConfiguration,
    AugmentedModelConfiguration,
    ClassifierConfiguration,
    JointConfiguration,
    LayerwiseConfiguration,
    StackedConfiguration,
)

__all__ = ["RECIPE", "small_vgg"]


def small_vgg() -> StagedConfiguration:
    """The settings for 100 labels of the digits, from which those of the larger data sets start."""
    return StagedConfiguration(
        epochs=60,
        data=DataConfiguration(dataset="digits", labels=100, image_size=32),
        model=AugmentedModelConfiguration(network="(16)3c-(16)3c-2p-(32)3c-(32)3c-2p-(32)3c-(32)3c-2p-10fc"),
        loss=AugmentedLossConfiguration(reconstruction=0.01, balance="auto"),
        classifier=ClassifierConfiguration(epochs=60, batch_size=20, lr=0.02, schedule="cosine"),
        layerwise=LayerwiseConfiguration(epochs=3, batch_size=16, rates=(3e-4, 3e-4, 1e-3), schedule="cosine"),
        stacked=StackedConfiguration(epochs=3, batch_size=16, lr=1e-4, schedule="cosine"),
        joint=JointConfiguration(batch_size=20, unlabelled_batch_size=40, lr=5e-3, schedule="cosine"),
        run=RunConfiguration(log_every=20, evaluate_every=3, checkpoint_every=200),
    )


RECIPE = next(
    recipe
    for recipe in augmented_recipes(
        "digits-vgg", "scikit-learn's digits, 100 labels", "the paper has no number for this data set", small_vgg
    )
    if recipe.name == "digits-vgg-swwae-all"
)

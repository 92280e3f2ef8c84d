"""``digits-vgg-swwae-all``: the four steps of Zhang et al. on a small VGG and scikit-learn's digits; nothing to download."""

from __future__ import annotations

from wwae.recipes.recipe import Recipe
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

__all__ = ["RECIPE", "digits_vgg"]


def digits_vgg() -> StagedConfiguration:
    """The settings for 100 labels."""
    return StagedConfiguration(
        recipe="digits-vgg-swwae-all",
        epochs=40,
        data=DataConfiguration(dataset="digits", labels=100, image_size=32),
        model=AugmentedModelConfiguration(network="(16)3c-(16)3c-2p-(32)3c-(32)3c-2p-(32)3c-(32)3c-2p-10fc"),
        loss=AugmentedLossConfiguration(reconstruction=0.01),
        classifier=ClassifierConfiguration(epochs=60, lr=0.02, batch_size=20, schedule="cosine"),
        layerwise=LayerwiseConfiguration(epochs=2, lr=1e-3),
        stacked=StackedConfiguration(epochs=2, lr=1e-4),
        joint=JointConfiguration(lr=1e-3, batch_size=20),
        run=RunConfiguration(log_every=20, evaluate_every=2, checkpoint_every=200),
    )


RECIPE = Recipe(
    name="digits-vgg-swwae-all",
    summary="scikit-learn's digits: a small VGG, augmented and trained in four steps, beside its control without decoder",
    aim="the paper has no number for this data set",
    configuration=digits_vgg,
)

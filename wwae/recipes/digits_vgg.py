"""``digits-vgg-swwae-all``: the four steps of Zhang et al. on a small VGG and scikit-learn's digits; nothing to download.

Zhang, Lee, Lee: Augmenting Supervised Neural Networks with Unsupervised Objectives for Large-scale Image Classification (2016,
arXiv:1606.06582), section 4.1. The run in numbers:

    parameters    classifier 39,994, decoder 34,833
    images        1,352 for training (100 labelled, 1,252 not) and 445 for testing, 8×8 resized to 32×32
    classifier    60 epochs of 5 steps, 20 labelled images each, from new weights
    layer-wise    3 epochs of 84 steps, 16 images each; rates chosen by the fall of each macro-layer's loss, as in the paper
    stacked       the same, at 1e-4
    joint         60 epochs of 5 steps, 20 labelled and 40 unlabelled images each; the control the labelled ones alone
    time          1,350 images of the layer-wise and as many of the stacked stage three times, 18,000 of the joint one: a
                  quarter of a minute of training on two processor cores

The paper has labels for every image; here the joint stage also reconstructs images that have none. Rates and λ are not the paper's:
they belong to a small network and pixels of digits. λ = 0.01 had the least validation error of 0.001, 0.01 and 0.1 with 252 of the
unlabelled images held out and seed 0, 6.8 % beside 7.5, 7.1 and the control's 7.5: differences of two images.
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

"""``digits``: the SWWAE of Zhao et al. on scikit-learn's built-in digits; nothing to download.

Zhao, Mathieu, Goroshin, LeCun: Stacked What-Where Auto-encoders (2015, arXiv:1506.02351); the network of their MNIST
experiment on another, smaller set of digits, so the paper has no number for it.

The run in numbers:

    parameters    convnet 85,770 (1,664 + 36,928 + 36,928 + 10,250), decoder 75,457
    images        1,297 for training (100 labelled, 1,197 not) and 500 for testing, 8×8 resized to 32×32
    step          32 labelled + 64 unlabelled images
    epoch         1,197 / 64 = 19 steps
"""

from __future__ import annotations

from wwae.recipes.recipe import Recipe
from wwae.training.configuration import (
    DataConfiguration,
    LossConfiguration,
    ModelConfiguration,
    OptimizerConfiguration,
    RunConfiguration,
    TrainingConfiguration,
)

__all__ = ["RECIPE", "digits"]


def digits() -> TrainingConfiguration:
    """The settings for 100 labels."""
    return TrainingConfiguration(
        recipe="digits",
        epochs=20,
        rounds=1,
        data=DataConfiguration(dataset="digits", labels=100, image_size=32),
        model=ModelConfiguration(architecture="(64)5c-2p-(64)3c-2p-(64)3c-2p-10fc"),
        loss=LossConfiguration(mode="semi-supervised", form="mse", reconstruction=10.0, middle=10.0),
        optimizer=OptimizerConfiguration(name="adam", lr=2e-3, schedule="cosine", labelled_batch_size=32, unlabelled_batch_size=64),
        run=RunConfiguration(log_every=19, checkpoint_every=95),
    )


RECIPE = Recipe(
    name="digits",
    summary="scikit-learn's digits, 100 labels, no download: SWWAE beside the plain convnet",
    aim="the paper has no number for this data set",
    configuration=digits,
)

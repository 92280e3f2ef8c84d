"""``digits``: the SWWAE of Zhao et al. on scikit-learn's built-in digits; nothing to download.

Zhao, Mathieu, Goroshin, LeCun: Stacked What-Where Auto-encoders (2015, arXiv:1506.02351); the network of their MNIST
experiment on another, smaller set of digits, so the paper has no number for it.

The run in numbers:

    parameters    convnet 85,770 (1,664 + 36,928 + 36,928 + 10,250), decoder 75,457
    images        1,352 for training (100 labelled, 1,252 not) and 445 for testing, 8×8 resized to 32×32
    step          20 labelled + 40 unlabelled images
    epoch         1,252 / 40 = 31 steps
    whole run     26 epochs = 806 steps, 48,360 images, and as many steps of the convnet with 20 images
    time          a processor core takes 250 images of the SWWAE a second and 600 of the convnet

λ belongs to the squared error averaged over the elements of a map (``loss.form = "mse"``). It was chosen between 1 and 10
with networks of 16 maps a layer, three labelled sets and 297 images held out of the first 1,297: validation error 7.3 and
6.9 %, convnet 7.9 %. With 64 maps and the test set, seed 0 gave from 3.8 to 4.7 % for the SWWAE and from 3.2 to 4.3 % for
the convnet, by nothing but how sums are rounded: on other processors, with one thread or two, fused or not. Seeds 0, 1
and 2 on one machine: 4.7, 6.1 and 9.2 % beside 3.4, 7.4 and 7.2 %. On so few unlabelled
images the gain is within the noise of one labelled set; ``mnist-swwae`` is the recipe that shows it.
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
        epochs=26,
        rounds=1,
        data=DataConfiguration(dataset="digits", labels=100, image_size=32),
        model=ModelConfiguration(architecture="(64)5c-2p-(64)3c-2p-(64)3c-2p-10fc", dropout=0.5),
        loss=LossConfiguration(mode="semi-supervised", form="mse", reconstruction=10.0, middle=10.0),
        optimizer=OptimizerConfiguration(name="adam", lr=2e-3, schedule="cosine", labelled_batch_size=20, unlabelled_batch_size=40),
        run=RunConfiguration(log_every=31, evaluate_every=2, checkpoint_every=155),
    )


RECIPE = Recipe(
    name="digits",
    summary="scikit-learn's digits, 100 labels, no download: SWWAE beside the plain convnet",
    aim="the paper has no number for this data set",
    configuration=digits,
)

"""``vgg16-{sae,swwae}-{first,all,layerwise}``: the experiment of Zhang et al. on ImageNet, their Table 1.

Zhang, Lee, Lee: Augmenting Supervised Neural Networks with Unsupervised Objectives for Large-scale Image Classification (2016,
arXiv:1606.06582), sections 4.1 and 4.3, Table A-1.

    weights       VGG-16 as its authors released it: ``--model.weights VGG_ILSVRC_16_layers.caffemodel``, or a conversion
    images        ``--data.root DIR`` with ``train`` and ``val``, in class folders or tar files; shorter side between 256 and 512,
                  crops of 224, half of them mirrored
    steps         16 images in the decoder's stages, 64 in the joint one; SGD with momentum 0.9
    layer-wise    one epoch at the rates of Table A-1, on losses without weights
    loss weights  Table A-1 (``loss.balance = "caffe"``), for features of the scale of the Caffe network. That of torchvision's
                  ``IMAGENET1K_V1`` is another: ``--model.convention torchvision --loss.balance auto``, and other rates
    paper         top-1 error 29.05 % for VGG-16 and 27.39 % for SWWAE-all after about 16 epochs, single crop

The paper prints no rate for the stacked and the joint stage. That of the stacked stage is the layer-wise rate of the images divided
by their loss weight, 3e-9 / 1e-4, rounded down; that of the joint stage is the last of VGG's own training. These recipes have not
been run to their end.
"""

from __future__ import annotations

from wwae.recipes.augmented import augmented_recipes
from wwae.training import StagedConfiguration

__all__ = ["RECIPES", "vgg16"]


def vgg16() -> StagedConfiguration:
    """What the six have in common."""
    return StagedConfiguration().updated(
        {
            "epochs": 16,
            "data": {"dataset": "imagenet", "labels": "all", "image_size": 224, "workers": 8},
            "model": {"network": "vgg16", "convention": "caffe-vgg", "dropout": 0.5},
            "loss": {"reconstruction": 1.0, "balance": "caffe"},
            "classifier": {"epochs": 0},
            "layerwise": {"epochs": 1, "batch_size": 16, "rates": (3e-9, 1e-8, 3e-12, 1e-12, 1e-11)},
            "stacked": {"epochs": 1, "batch_size": 16, "lr": 2e-5},
            "joint": {"batch_size": 64, "lr": 1e-5, "weight_decay": 5e-4},
            "run": {"log_every": 100, "evaluate_every": 1, "checkpoint_every": 1000},
        }
    )


RECIPES = augmented_recipes(
    "vgg16", "ImageNet", "Zhang et al. 2016, Table 1: top-1 error 1.35 to 1.66 points below that of VGG-16, single crop", vgg16
)

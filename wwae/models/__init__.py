"""Networks built on switch pooling."""

from wwae.models import vgg
from wwae.models.alexnet import AlexNetInversion, alexnet_inversion
from wwae.models.architecture import format_architecture, parse_architecture
from wwae.models.augment import AugmentedClassifier, AugmentedOutput, augment
from wwae.models.caffenet import CaffeNet
from wwae.models.fully_convolutional import fully_convolutional
from wwae.models.pretrained import NormalisedClassifier, pretrained_classifier
from wwae.models.state_files import WeightsError
from wwae.models.swwae import SWWAE, SWWAEOutput
from wwae.models.vgg import *  # noqa: F403

__all__ = [
    "SWWAE",
    "AlexNetInversion",
    "AugmentedClassifier",
    "AugmentedOutput",
    "CaffeNet",
    "NormalisedClassifier",
    "SWWAEOutput",
    "WeightsError",
    "alexnet_inversion",
    "augment",
    "format_architecture",
    "fully_convolutional",
    "parse_architecture",
    "pretrained_classifier",
    *vgg.__all__,
]

"""Networks built on switch pooling."""

from wwae.models import vgg
from wwae.models.architecture import format_architecture, parse_architecture
from wwae.models.augment import AugmentedClassifier, AugmentedOutput, augment
from wwae.models.fully_convolutional import fully_convolutional
from wwae.models.swwae import SWWAE, SWWAEOutput
from wwae.models.vgg import *  # noqa: F403

__all__ = [
    "SWWAE",
    "AugmentedClassifier",
    "AugmentedOutput",
    "SWWAEOutput",
    "augment",
    "format_architecture",
    "fully_convolutional",
    "parse_architecture",
    *vgg.__all__,
]

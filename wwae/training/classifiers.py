"""The networks of a run in stages: a classifier, and the same with its decoders."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from wwae.models import AugmentedClassifier, augment
from wwae.models.convnet import convnet
from wwae.models.pretrained import WeightsError, pretrained_classifier
from wwae.training.configuration import ConfigurationError
from wwae.training.staged_configuration import StagedConfiguration

__all__ = ["build_augmented", "build_classifier"]


def build_classifier(configuration: StagedConfiguration, image_shape: Sequence[int], classes: int) -> nn.Module:
    """Make the classifier of a configuration, with new weights or those of ``model.weights``, for images of shape
    (C, H, W).

    Raises:
        ConfigurationError: ``model.network`` is neither a torchvision network nor a notation, does not fit the images, or has
            another number of outputs than there are classes.
        WeightsError: ``model.weights`` are missing, damaged, or not those of the network.
    """
    settings = configuration.model
    if not settings.network[0].isalpha():
        if settings.weights is not None:
            raise ConfigurationError(
                f"model.weights: expected none for a network in notation, which starts from new weights, got {settings.weights}"
            )
        in_channels, height, width = image_shape
        try:
            network = convnet(settings.network, in_channels, (height, width), settings.dropout)
        except ValueError as error:
            raise ConfigurationError(f"model.network: {error}") from None
        outputs = network.get_submodule("classifier")[-1].out_features  # type: ignore[index]
        if outputs != classes:
            raise ConfigurationError(
                f"model.network: expected a last layer of {classes}fc for the classes of this dataset, got {outputs}fc"
            )
        return network
    if settings.weights is not None:
        try:
            return pretrained_classifier(settings.network, settings.weights, settings.convention)
        except WeightsError:
            raise
        except ValueError as error:
            raise ConfigurationError(f"model: {error}") from None
    try:
        from torchvision.models import get_model
    except ImportError:
        raise ConfigurationError(
            f"model.network: {settings.network!r} needs the package torchvision: pip install torchvision"
        ) from None
    try:
        return get_model(settings.network, num_classes=classes, dropout=settings.dropout)
    except ValueError as error:
        raise ConfigurationError(f"model.network: {error}") from None


def build_augmented(configuration: StagedConfiguration, classifier: nn.Module) -> AugmentedClassifier:
    """Grow the decoders of a configuration on ``classifier``.

    Raises:
        ConfigurationError: the network can't be mirrored as far as ``model.from_layer``.
    """
    settings = configuration.model
    try:
        return augment(classifier, settings.variant, settings.switches, settings.from_layer)
    except ValueError as error:
        raise ConfigurationError(f"model: {error}") from None

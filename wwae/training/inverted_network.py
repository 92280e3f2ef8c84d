"""What an inversion needs to know of a classifier: the layers that it starts from, and the decoders for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from wwae.models import AugmentedClassifier, alexnet_inversion, augment
from wwae.models.alexnet import ALEXNET_LAYERS, alexnet_image_sizes
from wwae.models.augment import Variant
from wwae.models.decoder import SwitchKind
from wwae.models.strided_decoder import StridedDecoder

__all__ = ["InvertedNetwork", "inverted_network"]

_ALEXNETS = ("alexnet", "caffenet")


@dataclass(frozen=True)
class InvertedNetwork:
    """A classifier that can be inverted.

    Attributes:
        layers (tuple[str, ...]): those that it can be inverted from, the nearest to the images first.
        augmented (Callable): makes the classifier with new decoders up to one of the layers, of a variant and a kind of switches.
        image_sizes (range | None): the heights of square images, in pixels, that it was made for; None: any.
    """

    layers: tuple[str, ...]
    augmented: Callable[[Variant, SwitchKind, str], AugmentedClassifier]
    image_sizes: range | None = None


def inverted_network(name: str, classifier: nn.Module) -> InvertedNetwork:
    """Return what an inversion needs to know of a classifier of torchvision, or of ``"caffenet"``.

    Both forms of AlexNet are inverted from every layer, ``conv1`` to ``fc8``, the others from their pooling layers.

    Raises:
        ValueError: there is no pooling layer, or what is before the last of them cannot be mirrored.
    """
    return _alexnet(classifier) if name in _ALEXNETS else _pooling(name, classifier)


def _alexnet(classifier: nn.Module) -> InvertedNetwork:
    def augmented(variant: Variant, switches: SwitchKind, layer: str) -> AugmentedClassifier:
        return alexnet_inversion(layer, switches, classifier, variant)

    return InvertedNetwork(ALEXNET_LAYERS, augmented, alexnet_image_sizes(classifier))


def _pooling(name: str, classifier: nn.Module) -> InvertedNetwork:
    def augmented(variant: Variant, switches: SwitchKind, layer: str) -> AugmentedClassifier:
        model = augment(classifier, variant, switches, layer)
        first, *more = model.macro_layers[0].convolutions
        if first.detail.stride != (1, 1) and not more:
            model.decoders[0] = StridedDecoder(model.macro_layers[0]).to(next(classifier.parameters()).device)
        return model

    names = augment(classifier, "layerwise").layer_names
    layers = tuple(each for each in names if each.startswith("pool"))
    if not layers:
        raise ValueError(f"{name} has no pooling layer to start from, only {', '.join(names)}")
    return InvertedNetwork(layers, augmented)

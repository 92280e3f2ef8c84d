"""Inversion of AlexNet from each of its layers: Zhang, Lee and Lee (2016, arXiv:1606.06582), section 4.2 and figure 4.

Each macro-layer holds one convolution or inner product with the ReLU and the pool that follow it. The decoder mirrors them one by
one; inner products are turned around by inner products, and ``conv1``, whose stride of 4 stands for two more pools, by three
deconvolutions.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from wwae.models.augment import AugmentedClassifier, SwitchSource, Variant
from wwae.models.caffenet import CaffeNet
from wwae.models.classifier_graph import Operation, read_classifier
from wwae.models.decoder import SwitchKind
from wwae.models.macro_layers import MacroLayer, Site, macro_layer, site_of
from wwae.models.recording import Recording
from wwae.models.strided_decoder import StridedDecoder

__all__ = ["ALEXNET_LAYERS", "AlexNetInversion", "alexnet_image_sizes", "alexnet_inversion"]

ALEXNET_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
_CONVOLUTIONS = 5

LARGEST_IMAGE = 1024
"""Height in pixels up to which :func:`alexnet_image_sizes` looks."""

AlexNetForm = Literal["caffenet", "torchvision"]

_WHO = "alexnet_inversion"
_INNER_STD = {"fc6": 0.005, "fc7": 0.005, "fc8": 0.01}
"""Of the Gaussian weights of a new inner product (the authors' released configuration)."""


class AlexNetInversion(AugmentedClassifier):
    """AlexNet and a decoder that reconstructs the images from one of its layers; :func:`alexnet_inversion` makes it.

    It is an augmented classifier whose macro-layers are named after their convolutions, with the inner products as more layers.

    Attributes:
        layer (str): where decoding starts, from ``"conv1"`` to ``"fc8"``.
        inner_products (nn.ModuleDict): ``inner_products["fc7"]`` maps the end of ``fc7`` to that of ``fc6``, and ``["fc6"]`` to the
            flattened end of ``conv5``.

    Raises:
        ValueError: the classifier has not five convolutions with three inner products after them.
    """

    def __init__(self, classifier: nn.Module, layer: str, switches: SwitchKind, variant: Variant = "first") -> None:
        operations, convolutions, inner = _read(classifier)
        number = 1 + ALEXNET_LAYERS.index(layer)
        layers = _macro_layers(operations, convolutions[: min(number, _CONVOLUTIONS)])
        super().__init__(classifier, layers, variant, switches)
        self.layer = layer
        self.decoders[0] = StridedDecoder(layers[0])
        self.inner_products = nn.ModuleDict()
        self._ends: dict[str, Site] = {}
        for name, (position, module) in zip(ALEXNET_LAYERS[_CONVOLUTIONS:number], inner, strict=False):
            self._ends[name] = site_of(operations, _end(operations, position))
            self.inner_products[name] = _inner_product(module, _INNER_STD[name])
        self.inner_products.train(classifier.training)

    @property
    def mirrored_inner_products(self) -> dict[str, tuple[str, nn.Linear]]:
        """For each of :attr:`inner_products` the classifier's module that it mirrors, and the name of it there."""
        found = [(name, module) for name, module in self.classifier.named_modules() if isinstance(module, nn.Linear)]
        return dict(zip(self.inner_products, found, strict=False))

    @property
    def layer_names(self) -> tuple[str, ...]:
        return ALEXNET_LAYERS[: 1 + ALEXNET_LAYERS.index(self.layer)]

    @property
    def layer_decoders(self) -> tuple[nn.Module, ...]:
        return (*self.decoders, *self.inner_products.values())

    def _sites(self) -> set[Site]:
        return super()._sites() | set(self._ends.values())

    def _maps(self, x: Tensor, record: Recording) -> list[Tensor]:
        return super()._maps(x, record) + [record.maps[end] for end in self._ends.values()]

    def _decode(self, number: int, top: Tensor, maps: list[Tensor], record: Recording, source: SwitchSource) -> Tensor:
        if number < _CONVOLUTIONS:
            return super()._decode(number, top, maps, record, source)
        inner, shape = self.layer_decoders[number], maps[number].shape
        if math.prod(shape[1:]) != inner.out_features:
            raise ValueError(
                f"{_WHO}: {ALEXNET_LAYERS[number]} reads {inner.out_features:,} values, but these images give {shape[1]} maps of "
                f"{shape[2]}x{shape[3]}; give images of the size the network was made for"
            )
        return F.relu(inner(top)).reshape(shape)


def alexnet_inversion(
    layer: str = "fc8",
    switches: SwitchKind = "known",
    classifier: nn.Module | AlexNetForm = "caffenet",
    variant: Variant = "first",
) -> AlexNetInversion:
    """AlexNet with a decoder that inverts it from one layer (Zhang et al. 2016, arXiv:1606.06582, section 4.2).

    The images are reconstructed from the end of the layer, which is after its ReLU and, for ``conv1``, ``conv2`` and ``conv5``, its
    pool. Call ``freeze_encoder()`` to train the decoder alone, as the paper does.

    Args:
        layer (str): ``"conv1"`` to ``"conv5"``, ``"fc6"`` to ``"fc8"``.
        switches (str): ``"known"`` or ``"fixed"``, as for :func:`wwae.models.augment`.
        classifier (nn.Module | str): the network, such as the result of :func:`wwae.models.pretrained_classifier`; ``"caffenet"``:
            a new one of the paper's form, for 227x227 images in two groups; ``"torchvision"``: torchvision's, for 224x224.
        variant (str): ``"first"``, ``"all"`` or ``"layerwise"``, as for :func:`wwae.models.augment`; the paper's inversion is the
            first of them, whose decoder layerwise training may start.

    Returns:
        AlexNetInversion: called with images it gives an :class:`wwae.models.AugmentedOutput`: the images, and with ``"all"`` and
        ``"layerwise"`` also the end of every layer below ``layer``.

    Raises:
        ValueError: an argument is none of its choices, or the network is not five convolutions and three inner products.
        ImportError: torchvision is not installed, for its network.
    """
    if layer not in ALEXNET_LAYERS:
        raise ValueError(f"{_WHO}: expected layer to be one of {', '.join(ALEXNET_LAYERS)}, got {layer!r}")
    if isinstance(classifier, str):
        if classifier not in get_args(AlexNetForm):
            raise ValueError(f"{_WHO}: expected a network or one of {', '.join(get_args(AlexNetForm))}, got {classifier!r}")
        classifier = CaffeNet() if classifier == "caffenet" else _torchvision_alexnet()
    return AlexNetInversion(classifier, layer, switches, variant)


def alexnet_image_sizes(classifier: nn.Module) -> range:
    """Return the heights of square images, in pixels, whose maps at the end of ``conv5`` are what ``fc6`` reads.

    They are 227 to 258 for CaffeNet and 223 to 254 for torchvision's AlexNet.

    Raises:
        ValueError: the network is not five convolutions and three inner products, or its inner products read no such maps.
    """
    operations, convolutions, inner = _read(classifier)
    layers = _macro_layers(operations, convolutions)
    read = inner[0][1].in_features

    def values(height: int) -> int:
        size = (height, height)
        for layer in layers:
            size = layer.sizes(size)[-1]
        return layers[-1].channels[-1] * max(size[0], 0) ** 2

    fitting = [height for height in range(1, LARGEST_IMAGE + 1) if values(height) == read]
    if not fitting:
        raise ValueError(f"{_WHO}: fc6 of {type(classifier).__name__} reads {read:,} values, which no square images give it")
    return range(fitting[0], fitting[-1] + 1)


def _torchvision_alexnet() -> nn.Module:
    try:
        from torchvision.models import alexnet
    except ImportError as error:
        raise ImportError(f"{_WHO} takes this network from torchvision: pip install torchvision") from error
    return alexnet()


def _read(classifier: nn.Module) -> tuple[list[Operation], list[int], list[tuple[int, nn.Linear]]]:
    """Return the operations of a network, where its convolutions are among them, and where each inner product is."""
    operations = read_classifier(classifier, _WHO)
    inner = [
        (position, module)
        for position, operation in enumerate(operations)
        if operation.module is not None and isinstance(module := classifier.get_submodule(operation.module), nn.Linear)
    ]
    convolutions = [position for position, operation in enumerate(operations) if operation.kind == "convolution"]
    if (len(convolutions), len(inner)) != (_CONVOLUTIONS, 3) or convolutions[-1] > inner[0][0]:
        raise ValueError(
            f"{_WHO}: expected five convolutions, then three inner products, got {len(convolutions)} and {len(inner)} of them "
            f"in {type(classifier).__name__}"
        )
    return operations, convolutions, inner


def _macro_layers(operations: list[Operation], convolutions: list[int]) -> tuple[MacroLayer, ...]:
    layers: list[MacroLayer] = []
    begin = convolutions[0] - 1
    for number, position in enumerate(convolutions, start=1):
        end = _end(operations, position)
        layers.append(replace(macro_layer(operations, begin, end, number), name=ALEXNET_LAYERS[number - 1]))
        begin = end
    return tuple(layers)


def _end(operations: list[Operation], position: int) -> int:
    """The last of the nonlinearity, normalisation and pool that follow a convolution or an inner product."""
    while position + 1 < len(operations) and operations[position + 1].kind in ("activation", "normalise", "pool"):
        position += 1
    return position


def _inner_product(mirrored: nn.Linear, std: float) -> nn.Linear:
    weight = mirrored.weight
    module = nn.Linear(mirrored.out_features, mirrored.in_features, device=weight.device, dtype=weight.dtype)
    nn.init.normal_(module.weight, std=std)
    nn.init.zeros_(module.bias)
    return module

"""Classifiers with weights that were trained before, which take RGB in [0, 1] whatever their weights were trained on.

The normalisation is a part of the classifier, and the order of the channels is folded into its first convolution, so that the
images, which are what a decoder reconstructs, have one convention: Zhang, Lee and Lee (2016, arXiv:1606.06582), appendix A1.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wwae.models.caffenet import CaffeNet
from wwae.models.state_files import WeightsError, read_state_dict

__all__ = ["CONVENTIONS", "Convention", "NormalisedClassifier", "WeightsError", "pretrained_classifier"]

Triple = tuple[float, float, float]


class Convention(NamedTuple):
    """How weights want their images: ``(RGB in [0, 1] - mean) / std``, its channels turned around with ``bgr``."""

    mean: Triple
    std: Triple
    bgr: bool = False


_LEVEL: Triple = (1 / 255, 1 / 255, 1 / 255)

CONVENTIONS = {
    "rgb": Convention((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "torchvision": Convention((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe-vgg": Convention((123.68 / 255, 116.779 / 255, 103.939 / 255), _LEVEL, bgr=True),
    "caffenet": Convention((122.6789 / 255, 116.6688 / 255, 104.007 / 255), _LEVEL, bgr=True),
}
"""``"rgb"``: as the images are. ``"torchvision"``: ImageNet's mean and standard deviation. ``"caffe-vgg"``: BGR from 0 to 255 minus
the mean of VGG's authors. ``"caffenet"``: the same with the mean of Caffe's ImageNet file, averaged over the pixels."""


class NormalisedClassifier(nn.Module):
    """A classifier that takes RGB in [0, 1] and normalises it for its network.

    The state dict has the network's keys after ``network.``, and ``mean`` and ``std``.

    Args:
        network (nn.Module): takes normalised images (N, 3, H, W).
        mean (triple), std (triple): of red, green and blue; std is above 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Triple, std: Triple) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1))
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W), RGB in [0, 1], to the network's scores."""
        return self.network((x - self.mean) / self.std)


def pretrained_classifier(
    name: str,
    weights: str | Path,
    convention: str | None = None,
    for_classification: bool = True,
    download: bool = False,
) -> NormalisedClassifier:
    """Build a classifier with trained weights, to be augmented.

    Args:
        name (str): a classifier of torchvision, such as ``"vgg16"``, or ``"caffenet"``.
        weights (str | Path): a file (``.pth``, ``.safetensors``, ``.caffemodel``), or the name of torchvision's weights, as
            ``"IMAGENET1K_V1"``. Those are taken from the cache of ``torch.hub``. The keys of a file are the network's; for VGG they
            may also be Caffe's (``conv1_1.weight`` ... ``fc8.bias``) or those of the conversions that count a flattening
            (``classifier.1``, ``.4``).
        convention (str | None): one of :data:`CONVENTIONS`. Default: that of torchvision's weights where they have a name,
            ``"caffenet"`` for CaffeNet, ``"caffe-vgg"`` for another ``.caffemodel``, else ``"torchvision"``.
        for_classification (bool): with False the inner products are left out and the scores are the features that go into them:
            for reconstruction only, which is all that weights such as ``"IMAGENET1K_FEATURES"`` can do.
        download (bool): whether weights of torchvision that are not in the cache may be fetched.

    Returns:
        NormalisedClassifier in evaluation mode: it takes RGB in [0, 1].

    Raises:
        WeightsError: there are no such weights, the package that reads them is missing, keys are missing or unexpected (all are
            listed), a shape is another one, or values are not finite, as those of a classifier that was never trained.
        ValueError: another name or convention.
    """
    if convention is not None and convention not in CONVENTIONS:
        raise ValueError(f"pretrained_classifier: expected convention to be one of {', '.join(CONVENTIONS)}, got {convention!r}")
    with torch.device("meta"):  # the first values would be drawn to be replaced
        network = _network(name)
    suffix = Path(weights).suffix
    is_file = isinstance(weights, Path) or suffix in (".pth", ".pt", ".safetensors", ".caffemodel") or Path(weights).is_file()
    if is_file:
        of_file = "caffenet" if name == "caffenet" else "caffe-vgg" if suffix == ".caffemodel" else "torchvision"
        state, default = read_state_dict(weights), CONVENTIONS[of_file]
    else:
        state, default = _torchvision_weights(name, str(weights), download)
    settings = default if convention is None else CONVENTIONS[convention]
    source = str(weights) if is_file else f"{name} {weights}"
    state = _renamed(state, network)
    if not for_classification:
        state = _without_inner_products(network, name, state)
    _load(network, state, source)
    if settings.bgr:
        first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
        first.weight = nn.Parameter(first.weight.detach().flip(1))
    return NormalisedClassifier(network, settings.mean, settings.std).eval()


def _network(name: str) -> nn.Module:
    if name == "caffenet":
        return CaffeNet()
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ValueError(f"pretrained_classifier: expected caffenet or a classifier of torchvision, got {name!r}")
    settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return models.get_model(name, **settings)


def _torchvision_weights(name: str, weights: str, download: bool) -> tuple[dict[str, Tensor], Convention]:
    if name == "caffenet":
        raise WeightsError(f"caffenet: expected a file of weights, got {weights!r}: torchvision has none for it")
    from torchvision.models import get_model_weights

    choices = get_model_weights(name).__members__
    if weights not in choices:
        raise WeightsError(f"{name}: expected a file or one of {', '.join(choices)}, got {weights!r}")
    entry = choices[weights]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / entry.url.rpartition("/")[2]
    if not cached.is_file():
        if not download:
            raise WeightsError(
                f"{name} {weights}: not on disk: looked for {cached}; get it from {entry.url}, or allow the download"
            )
        state = entry.get_state_dict(progress=False, check_hash=True)
    else:
        state = read_state_dict(cached)
    transforms = entry.transforms()
    return state, Convention(tuple(transforms.mean), tuple(transforms.std))


def _renamed(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The state dict with the network's own keys, where it has those of a conversion from Caffe."""
    expected = network.state_dict()
    if set(state) == set(expected):
        return state
    names = _caffe_names(network)
    if "classifier.1.weight" in state and "classifier.1.weight" not in expected:
        names |= {"classifier.1": "classifier.0", "classifier.4": "classifier.3"}
    renamed = {}
    for key, value in state.items():
        module, _, parameter = key.rpartition(".")
        own = f"{names[module]}.{parameter}" if module in names else key
        # Caffe's inner products and biases have four dimensions.
        is_same = own in expected and value.shape != expected[own].shape and value.numel() == expected[own].numel()
        renamed[own] = value.reshape(expected[own].shape) if is_same else value
    return renamed


def _caffe_names(network: nn.Module) -> dict[str, str]:
    """VGG's layers: Caffe's name to torchvision's, such as conv3_1 to features.10."""
    names: dict[str, str] = {}
    block, number, inner = 1, 0, 6
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            number += 1
            names[f"conv{block}_{number}"] = name
        elif isinstance(module, nn.MaxPool2d):
            block, number = block + 1, 0
        elif isinstance(module, nn.Linear):
            names[f"fc{inner}"] = name
            inner += 1
    return names


def _without_inner_products(network: nn.Module, name: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    if not isinstance(getattr(network, "classifier", None), nn.Module):
        raise ValueError(f"pretrained_classifier: {name} has no part named classifier to leave out: use for_classification=True")
    network.classifier = nn.Identity()
    return {key: value for key, value in state.items() if not key.startswith("classifier.")}


def _load(network: nn.Module, state: dict[str, Tensor], source: str) -> None:
    expected = network.state_dict()
    # Old files lack the counters, which nothing here reads.
    counters = {
        key: torch.zeros_like(value, device="cpu") for key, value in expected.items() if key.endswith("num_batches_tracked")
    }
    state = counters | state
    missing, unexpected = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
    if missing or unexpected:
        lists = [f"{what}: {', '.join(keys)}" for what, keys in (("missing", missing), ("unexpected", unexpected)) if keys]
        raise WeightsError(f"{source}: not the weights of {type(network).__name__}\n" + "\n".join(lists))
    for key, value in state.items():
        if value.shape != expected[key].shape:
            raise WeightsError(f"{source}: expected {key} of shape {list(expected[key].shape)}, got {list(value.shape)}")
    infinite = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if infinite:
        reason = (
            ": its classifier was never trained, use it for reconstruction only (for_classification=False)"
            if all(key.startswith("classifier.") for key in infinite)
            else ""
        )
        raise WeightsError(f"{source}: values that are not finite in {', '.join(infinite)}{reason}")
    network.load_state_dict({key: value.to(expected[key].dtype) for key, value in state.items()}, assign=True)

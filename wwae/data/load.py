"""From a data configuration to the images of one round of training."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from wwae.data.cifar10 import load_cifar10
from wwae.data.crops import alexnet_crop, centre_crop, vgg_crop
from wwae.data.digits import load_digits
from wwae.data.idx import FASHION_MNIST, MNIST, load_idx
from wwae.data.images import DataError, ImageData
from wwae.data.photographs import CroppedPhotographs, Photographs, WholePhotographs, find_pictures, load_photographs
from wwae.data.splits import semi_supervised_split
from wwae.training import InversionData, PictureConfiguration
from wwae.training.configuration import ConfigurationError, DataConfiguration
from wwae.training.dataset import Split, StagedData, TrainingData, derive_seed

__all__ = ["load_images", "load_pictures", "load_staged_data", "select_training_data"]

_IDX_SOURCES = {source.name: source for source in (MNIST, FASHION_MNIST)}


def load_images(configuration: DataConfiguration) -> ImageData:
    """Read the data set that ``configuration`` names; ``root`` defaults to ``data/DATASET`` in the working directory.

    Raises:
        DataError: a file is missing or damaged; the message names it.
        ConfigurationError: ``image_size`` is smaller than the data set's images.
    """
    if configuration.dataset == "imagenet":
        raise ConfigurationError("data.dataset: imagenet is for runs in stages, which read it batch by batch")
    if configuration.dataset == "digits":
        return load_digits(configuration.image_size)
    if configuration.dataset == "cifar10":
        return load_cifar10(configuration.root or Path("data") / "cifar10", configuration.image_size)
    root = configuration.root if configuration.root is not None else Path("data") / configuration.dataset
    return load_idx(_IDX_SOURCES[configuration.dataset], root, configuration.image_size)


def select_training_data(
    images: ImageData, configuration: DataConfiguration, *, labelled_seed: int, validation_seed: int
) -> TrainingData:
    """Draw the labelled, unlabelled and validation images of one round; every round takes another ``labelled_seed``.

    Raises:
        ConfigurationError: as :func:`wwae.data.semi_supervised_split`, or ``train_images`` are more than there are.
    """
    train = _drawn(images.train, configuration.train_images, validation_seed)
    split = semi_supervised_split(
        train.labels,
        classes=images.classes,
        labelled=configuration.labels,
        validation=configuration.validation,
        labelled_seed=labelled_seed,
        validation_seed=validation_seed,
    )
    validation = None
    if configuration.validation:
        validation = Split(train.images[split.validation], train.labels[split.validation])
    return TrainingData(
        labelled=Split(train.images[split.labelled], train.labels[split.labelled]),
        unlabelled=train.images[split.unlabelled],
        test=images.test,
        validation=validation,
    )


def _drawn(train: Split, count: int | Literal["all"], seed: int) -> Split:
    """As many of the training images, in their order; the same for every round of a run."""
    if count == "all":
        return train
    if count > len(train):
        raise ConfigurationError(f"data.train_images: expected at most {len(train)} or 'all', got {count}")
    generator = torch.Generator().manual_seed(derive_seed(seed, "training images"))
    return train.read(torch.randperm(len(train), generator=generator)[:count].sort().values)


def load_staged_data(configuration: DataConfiguration, validation_seed: int, labelled_seed: int) -> StagedData:
    """Read the images of a run in stages, and draw the labelled and the validation ones.

    Raises:
        DataError, ConfigurationError: as :func:`load_images` and :func:`select_training_data`.
    """
    if configuration.dataset == "imagenet":
        return _load_imagenet(configuration)
    images = load_images(configuration)
    data = select_training_data(images, configuration, labelled_seed=labelled_seed, validation_seed=validation_seed)
    return StagedData.from_memory(data, images.classes)


def _load_imagenet(configuration: DataConfiguration) -> StagedData:
    """Find the photographs of a run in stages: all have their labels, and the validation set is what errors are measured on."""
    for name, value, only in (
        ("labels", configuration.labels, "all"),
        ("train_images", configuration.train_images, "all"),
        ("validation", configuration.validation, 0),
    ):
        if value != only:
            raise ConfigurationError(f"data.{name}: expected {only!r} with imagenet, got {value!r}")
    photographs = load_photographs(configuration.root or Path("data") / "imagenet")
    size = configuration.image_size
    train, test = (_vgg_crops(part, size) for part in (photographs.train, photographs.validation))
    whole = WholePhotographs(photographs.validation, _shortest_side(size))
    return StagedData(train, train, test, len(photographs.train.classes), whole=whole)


def load_pictures(configuration: PictureConfiguration) -> InversionData:
    """Find the pictures of an inversion; ``root`` defaults to ``data/photographs`` in the working directory.

    The shorter sides of random crops are as long in relation to the crop as in the paper's scheme for VGG, 256 to 512 for 224, or
    for AlexNet, 256 for 227, and that of the crops that are measured is the shortest of these.

    Raises:
        DataError: there is no such folder, or there are too few pictures in it to measure one.
    """
    root = configuration.root if configuration.root is not None else Path("data") / "photographs"
    locations = find_pictures(root / "images" if (root / "images").is_dir() else root)
    if len(locations) < configuration.test_every:
        raise DataError(f"{root}: expected {configuration.test_every} pictures or more (data.test_every), got {len(locations)}")
    test = locations[configuration.test_every - 1 :: configuration.test_every]
    train = [location for location in locations if location not in test]
    parts = (Photographs(part, [0] * len(part), ["picture"]) for part in (train, test))
    crops = _alexnet_crops if configuration.crops == "alexnet" else _vgg_crops
    return InversionData(*(crops(part, configuration.image_size) for part in parts))


def _vgg_crops(photographs: Photographs, size: int) -> CroppedPhotographs:
    """Photographs in crops of ``size``; random ones have a shorter side of up to twice that of those that are measured."""
    shortest = _shortest_side(size)
    return CroppedPhotographs(photographs, vgg_crop(size, (shortest, 2 * shortest)), centre_crop(size, shortest))


def _alexnet_crops(photographs: Photographs, size: int) -> CroppedPhotographs:
    """Photographs in crops of ``size`` of the square in their middle; it is resized to 256 pixels for 227."""
    square = round(size * 256 / 227)
    return CroppedPhotographs(photographs, alexnet_crop(size, square), centre_crop(size, square))


def _shortest_side(size: int) -> int:
    """The shorter side of photographs that crops of ``size`` are measured in: 256 pixels for 224, as in the scheme for VGG."""
    return round(size * 8 / 7)

"""From a data configuration to the images of one round of training."""

from __future__ import annotations

from pathlib import Path

from wwae.data.digits import load_digits
from wwae.data.idx import FASHION_MNIST, MNIST, load_idx
from wwae.data.images import ImageData
from wwae.data.splits import semi_supervised_split
from wwae.training.configuration import DataConfiguration
from wwae.training.dataset import Split, StagedData, TrainingData

__all__ = ["load_images", "load_staged_data", "select_training_data"]

_IDX_SOURCES = {source.name: source for source in (MNIST, FASHION_MNIST)}


def load_images(configuration: DataConfiguration) -> ImageData:
    """Read the data set that ``configuration`` names; ``root`` defaults to ``data/DATASET`` in the working directory.

    Raises:
        DataError: a file is missing or damaged; the message names it.
        ConfigurationError: ``image_size`` is smaller than the data set's images.
    """
    if configuration.dataset == "digits":
        return load_digits(configuration.image_size)
    root = configuration.root if configuration.root is not None else Path("data") / configuration.dataset
    return load_idx(_IDX_SOURCES[configuration.dataset], root, configuration.image_size)


def select_training_data(
    images: ImageData, configuration: DataConfiguration, *, labelled_seed: int, validation_seed: int
) -> TrainingData:
    """Draw the labelled, unlabelled and validation images of one round; every round takes another ``labelled_seed``.

    Raises:
        ConfigurationError: as :func:`wwae.data.semi_supervised_split`.
    """
    train = images.train
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


def load_staged_data(configuration: DataConfiguration, validation_seed: int, labelled_seed: int) -> StagedData:
    """Read the images of a run in stages, and draw the labelled and the validation ones.

    Raises:
        DataError, ConfigurationError: as :func:`load_images` and :func:`select_training_data`.
    """
    images = load_images(configuration)
    data = select_training_data(images, configuration, labelled_seed=labelled_seed, validation_seed=validation_seed)
    return StagedData.from_memory(data, images.classes)

"""The network of a configuration: new, or with the weights of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from wwae.models import SWWAE
from wwae.training.checkpoints import CheckpointError, load_checkpoint
from wwae.training.configuration import ConfigurationError, TrainingConfiguration
from wwae.training.dataset import TrainingData
from wwae.training.run_directory import RunDirectory

__all__ = ["Network", "build_model", "check_classes", "load_model"]

Network = Literal["swwae", "convnet"]
"""What a round trains: the auto-encoder, or its convnet alone as the baseline."""


def build_model(configuration: TrainingConfiguration, image_shape: Sequence[int]) -> SWWAE:
    """Make the network of a configuration, with new weights, for images of shape (C, H, W).

    Raises:
        ConfigurationError: the architecture is not one, or does not fit the images.
    """
    in_channels, height, width = image_shape
    try:
        return SWWAE(in_channels=in_channels, image_size=(height, width), **configuration.model.model_dump())
    except ValueError as error:
        raise ConfigurationError(f"model: {error}") from None


def check_classes(model: SWWAE, configuration: TrainingConfiguration, data: TrainingData) -> None:
    """Check that the network has an output for every class, where labels are learnt.

    Raises:
        ConfigurationError: it has not.
    """
    if configuration.loss.mode == "unsupervised":
        return
    if model.classes is None:
        raise ConfigurationError(
            f"model.architecture: expected fc layers to learn labels with, got {configuration.model.architecture!r}; "
            "add one or use loss.mode 'unsupervised'"
        )
    needed = 1 + int(torch.cat([data.labelled.labels, data.test.labels]).max())
    if needed > model.classes:
        raise ConfigurationError(
            f"model.architecture: expected a last layer of at least {needed}fc for the classes of this dataset, "
            f"got {model.classes}fc"
        )


def load_model(directory: RunDirectory, round_number: int = 1, network: Network = "swwae") -> SWWAE:
    """Return a network of a run with the weights of its last checkpoint, on the CPU.

    Raises:
        ConfigurationError: the run's ``config.toml`` is damaged, or the run is one in stages.
        CheckpointError: there is no such checkpoint, it is damaged, or it does not belong to ``config.toml``.
    """
    configuration = directory.read_configuration()
    if not isinstance(configuration, TrainingConfiguration):
        raise ConfigurationError(f"{directory.path}: expected a run of a stacked what-where auto-encoder, got one in stages")
    path = directory.checkpoint(round_number, network)
    state = load_checkpoint(path)
    try:
        model = build_model(configuration, state["image_shape"])
        model.load_state_dict(state["model"])
    except (KeyError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"{path}: does not belong to {directory.config}: {str(error).splitlines()[0]}") from None
    return model

"""The fit of every stage of a run: its network with the weights it starts from, its loss, its images and its rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wwae.models import AugmentedClassifier
from wwae.training.checkpoints import CheckpointError, load_checkpoint
from wwae.training.classifiers import build_augmented, build_classifier
from wwae.training.configuration import ConfigurationError
from wwae.training.dataset import ImageSet, StagedData, derive_seed
from wwae.training.fit import seed_everything
from wwae.training.reconstruction_loss import ReconstructionLoss
from wwae.training.run_directory import RunDirectory
from wwae.training.stage_fit import (
    ImageBatches,
    Objective,
    StageFit,
    classification,
    joint,
    layerwise,
    parameter_groups,
    stacked,
)
from wwae.training.staged_configuration import StageConfiguration, StagedConfiguration

__all__ = ["Stages", "Weights", "read_finished", "read_weights"]

Weights = dict[str, Tensor]
"""A state dict."""


def read_finished(directory: RunDirectory, stage: str) -> dict[str, Any]:
    """Return the state of a finished stage.

    Raises:
        CheckpointError: the checkpoint is missing or damaged, or the stage is not finished.
    """
    path = directory.stage_checkpoint(stage)
    state = load_checkpoint(path)
    if state.get("metrics") is None:
        raise CheckpointError(f"{path}: stage {stage} is not finished: wwae train --resume {directory.path}")
    return state


def read_weights(directory: RunDirectory, stage: str) -> Weights:
    """Return what the network of a finished stage has learnt: a classifier's weights, or an augmented classifier's.

    Raises:
        CheckpointError: as :func:`read_finished`.
    """
    return read_finished(directory, stage)["model"]


class Stages:
    """Makes the fits of one run.

    Raises:
        ConfigurationError: the network does not fit the data, or can't be mirrored, or ``layerwise.rates`` is not one for each
            macro-layer.
    """

    def __init__(self, configuration: StagedConfiguration, data: StagedData, device: torch.device) -> None:
        self.configuration = configuration
        self.data = data
        self.device = device
        self.image_shape = tuple(data.test.read(torch.tensor([0])).images.shape[1:])
        if configuration.classifier.epochs == 0 and configuration.model.weights is None:
            raise ConfigurationError(
                "model.weights: expected trained weights, a file or a name, since classifier.epochs = 0 trains none; got none"
            )
        model = self.augmented()
        self.layers = tuple(layer.name for layer in model.macro_layers)
        self._check_outputs(model)
        rates = configuration.layerwise.rates
        if rates and len(rates) != len(self.layers):
            raise ConfigurationError(
                f"layerwise.rates: expected one rate for each of {', '.join(self.layers)}, got {len(rates)} of them"
            )

    def _check_outputs(self, model: AugmentedClassifier) -> None:
        with torch.no_grad():
            outputs = model.eval()(torch.zeros(1, *self.image_shape, device=self.device)).logits.shape[-1]
        if outputs != self.data.classes:
            raise ConfigurationError(
                f"model.network: expected one score for each of the {self.data.classes} classes of this dataset, got {outputs}"
            )

    def classifier(self, start: Weights | None = None) -> nn.Module:
        """Return the classifier, with new weights or with ``start``."""
        seed_everything(derive_seed(self.configuration.seed, "weights"))
        classifier = build_classifier(self.configuration, self.image_shape, self.data.classes)
        if start is not None:
            classifier.load_state_dict(start)
        return classifier.to(self.device).to(memory_format=torch.channels_last)

    def augmented(self, start: Weights | None = None, encoder: Weights | None = None) -> AugmentedClassifier:
        """Return the augmented classifier with the weights ``start``, or with those of ``encoder`` and a new decoder."""
        classifier = self.classifier(encoder)
        seed_everything(derive_seed(self.configuration.seed, "decoder weights"))
        model = build_augmented(self.configuration, classifier).to(memory_format=torch.channels_last)
        if start is not None:
            model.load_state_dict(start)
        return model

    def fit(self, stage: str, start: Weights | None, macro_layers: Sequence[int] | None = None) -> StageFit:
        """Return the fit of a stage that starts from the weights of its predecessor.

        Args:
            stage (str): ``"classifier"``, ``"layerwise"``, ``"stacked"``, ``"joint"`` or ``"control"``.
            start (dict | None): the predecessor's weights; None for the first stage.
            macro_layers (sequence of int | None): those that a layer-wise fit trains, from 0; default all.
        """
        if stage in ("classifier", "control"):
            return self._classification(stage, start)
        if stage == "layerwise":
            return self._layerwise(start, macro_layers)
        loss = ReconstructionLoss(None if self.configuration.loss.balance == "none" else self.configuration.loss.balance)
        return self._stacked(start, loss) if stage == "stacked" else self._joint(start, loss)

    def _classification(self, stage: str, start: Weights | None) -> StageFit:
        # The control has the rates, the images and the random numbers of the joint stage.
        like = "joint" if stage == "control" else stage
        settings = self.configuration.joint if stage == "control" else self.configuration.classifier
        epochs = self.configuration.epochs if stage == "control" else self.configuration.classifier.epochs
        model = self.classifier(start)
        groups = parameter_groups(model, settings.lr, settings.weight_decay)
        labelled = self._batches(like, self.data.labelled, settings.batch_size)
        return self._fit(stage, like, model, classification, groups, settings, epochs, labelled=labelled)

    def _layerwise(self, start: Weights | None, macro_layers: Sequence[int] | None) -> StageFit:
        settings = self.configuration.layerwise
        numbers = range(len(self.layers)) if macro_layers is None else macro_layers
        rates = settings.rates or (settings.lr,) * len(self.layers)
        model = self.augmented(start).freeze_encoder()
        model.variant = "layerwise"
        groups = [g for n in numbers for g in parameter_groups(model.decoders[n], rates[n], settings.weight_decay)]
        name = "layerwise" if macro_layers is None else self.layerwise_name(*macro_layers)
        images = self._batches("layerwise", self.data.everything, settings.batch_size)
        return self._fit(name, "layerwise", model, layerwise(numbers), groups, settings, settings.epochs, unlabelled=images)

    def _stacked(self, start: Weights | None, loss: ReconstructionLoss) -> StageFit:
        settings = self.configuration.stacked
        model = self.augmented(start).freeze_encoder()
        groups = parameter_groups(model.decoders, settings.lr, settings.weight_decay)
        images = self._batches("stacked", self.data.everything, settings.batch_size)
        return self._fit(
            "stacked", "stacked", model, stacked(loss), groups, settings, settings.epochs, unlabelled=images, loss=loss
        )

    def _joint(self, start: Weights | None, loss: ReconstructionLoss) -> StageFit:
        settings = self.configuration.joint
        model = self.augmented(start)
        groups = parameter_groups(model, settings.lr, settings.weight_decay)
        objective = joint(loss, self.configuration.loss.reconstruction)
        labelled = self._batches("joint", self.data.labelled, settings.batch_size)
        unlabelled = None
        if self.data.unlabelled is not None and settings.unlabelled_batch_size:
            unlabelled = self._batches("joint, unlabelled", self.data.unlabelled, settings.unlabelled_batch_size)
        epochs = self.configuration.epochs
        return self._fit(
            "joint", "joint", model, objective, groups, settings, epochs, labelled=labelled, unlabelled=unlabelled, loss=loss
        )

    def layerwise_name(self, number: int) -> str:
        """The name of the fit that trains the decoder of one macro-layer alone."""
        return f"layerwise-{self.layers[number]}"

    def _fit(
        self,
        name: str,
        section: str,
        model: nn.Module,
        objective: Objective,
        groups: list[dict[str, Any]],
        settings: StageConfiguration,
        epochs: int,
        **images_and_loss: Any,
    ) -> StageFit:
        seed_everything(derive_seed(self.configuration.seed, "stage", section))
        precision, workers = self.configuration.precision, self.configuration.data.workers
        return StageFit(
            name,
            model,
            objective,
            groups,
            settings,
            section,
            epochs=epochs,
            device=self.device,
            precision=precision,
            workers=workers,
            **images_and_loss,
        )

    def _batches(self, purpose: str, images: ImageSet, batch_size: int) -> ImageBatches:
        return ImageBatches(images, batch_size, derive_seed(self.configuration.seed, "order", purpose))

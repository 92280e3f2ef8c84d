"""A stacked what-where auto-encoder or its convnet, trained on the data of one round."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wwae.models import SWWAE
from wwae.training.configuration import ConfigurationError, TrainingConfiguration
from wwae.training.dataset import ShuffledBatches, TrainingData, derive_seed, to_float
from wwae.training.fit import Fit, seed_everything
from wwae.training.losses import LossTerms, swwae_loss
from wwae.training.networks import Network, build_model, check_classes
from wwae.training.optimization import make_optimizer, make_schedule

__all__ = ["SwwaeFit"]


class SwwaeFit(Fit):
    """``"swwae"`` is trained as ``configuration.loss.mode`` says. ``"convnet"`` is the same network trained on the
    labelled images alone, from the same first weights and for the same number of steps.

    Step ``s`` depends on the seed, the round and the weights alone, so a fit restored from :meth:`state` continues
    bit for bit on the same kind of machine.

    Raises:
        ConfigurationError: the architecture does not fit the images or their classes.
    """

    def __init__(
        self,
        network: Network,
        round_number: int,
        configuration: TrainingConfiguration,
        data: TrainingData,
        device: torch.device,
    ) -> None:
        self.loss = configuration.loss
        if network == "convnet":
            self.loss = self.loss.model_copy(update={"mode": "supervised"})
        # Both networks of a round start from the same weights: the comparison is of training, not of luck.
        seed_everything(derive_seed(configuration.seed, "weights and dropout", round_number))
        model = build_model(configuration, data.labelled.images.shape[1:])
        check_classes(model, configuration, data)
        model.to(device).to(memory_format=torch.channels_last)

        self.labelled, self.unlabelled = _images_of_mode(configuration.loss.mode, data, device)
        self.labels = data.labelled.labels.to(device)
        self.labelled_batches = self.unlabelled_batches = None
        order = derive_seed(configuration.seed, "order", round_number)
        settings = configuration.optimizer
        if len(self.labelled):
            self.labelled_batches = ShuffledBatches(
                len(self.labelled), settings.labelled_batch_size, derive_seed(order, "labelled")
            )
        if len(self.unlabelled):
            self.unlabelled_batches = ShuffledBatches(
                len(self.unlabelled), settings.unlabelled_batch_size, derive_seed(order, "unlabelled")
            )
        counted = self.unlabelled_batches or self.labelled_batches
        if counted is None:
            raise ConfigurationError(f"data: no images to learn from in {configuration.loss.mode} mode")
        if self.labelled_batches is None and configuration.loss.mode != "unsupervised":
            raise ConfigurationError(f"data: no labelled images to learn from in {configuration.loss.mode} mode")

        steps = counted.steps_per_epoch * configuration.epochs
        optimizer = make_optimizer(settings, [p for p in model.parameters() if p.requires_grad])
        schedule = make_schedule(settings, optimizer, steps)
        super().__init__(
            network,
            model,
            optimizer,
            schedule,
            steps=steps,
            steps_per_epoch=counted.steps_per_epoch,
            device=device,
            precision=configuration.precision,
            round_number=round_number,
        )
        self.model: SWWAE = model

    def losses(self) -> tuple[LossTerms, int]:
        images, labels = self._batch()
        return swwae_loss(self.model, images, labels, self.loss), len(images)

    def state(self) -> dict[str, Any]:
        return super().state() | {"image_shape": (self.model.in_channels, *self.model.image_size)}

    def _batch(self) -> tuple[Tensor, Tensor | None]:
        """Return the images of the next step, labelled ones first, and the labels."""
        parts = []
        labels = None
        if self.labelled_batches is not None:
            chosen = self.labelled_batches[self.step].to(self.device)
            parts.append(self.labelled[chosen])
            labels = self.labels[chosen]
        if self.unlabelled_batches is not None and self.loss.mode != "supervised":
            parts.append(self.unlabelled[self.unlabelled_batches[self.step].to(self.device)])
        return to_float(torch.cat(parts)).contiguous(memory_format=torch.channels_last), labels


def _images_of_mode(mode: str, data: TrainingData, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the images that are learnt with a label and those without one, on the device."""
    labelled, unlabelled = data.labelled.images, data.unlabelled
    if mode == "unsupervised":
        unlabelled = torch.cat([unlabelled, labelled]) if len(unlabelled) else labelled
        labelled = labelled[:0]
    if mode == "supervised":
        unlabelled = unlabelled[:0]
    return labelled.to(device), unlabelled.to(device)

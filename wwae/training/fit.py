"""One network, trained on the data of one round."""

from __future__ import annotations

import math
import random
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wwae.training.checkpoints import random_states, restore_random_states
from wwae.training.configuration import ConfigurationError, TrainingConfiguration
from wwae.training.dataset import ShuffledBatches, TrainingData, derive_seed, to_float
from wwae.training.losses import LossTerms, swwae_loss
from wwae.training.networks import Network, build_model, check_classes
from wwae.training.optimization import make_optimizer, make_schedule

__all__ = ["Fit", "TrainingDiverged"]


class TrainingDiverged(RuntimeError):
    """The loss is not a finite number any more."""


class Fit:
    """A network with its optimiser, its data and its place in the run; :meth:`advance` takes one step.

    ``"swwae"`` is trained as ``configuration.loss.mode`` says. ``"convnet"`` is the same network trained on the
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
        self.network = network
        self.round_number = round_number
        self.loss = configuration.loss
        if network == "convnet":
            self.loss = self.loss.model_copy(update={"mode": "supervised"})
        self.device = device
        self.precision = configuration.precision

        self._seed_everything(configuration.seed)
        self.model = build_model(configuration, data.labelled.images.shape[1:])
        check_classes(self.model, configuration, data)
        self.model.to(device).to(memory_format=torch.channels_last)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]

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
        self.steps_per_epoch = counted.steps_per_epoch
        self.steps = self.steps_per_epoch * configuration.epochs

        self.optimizer = make_optimizer(settings, self.parameters)
        self.schedule = make_schedule(settings, self.optimizer, self.steps)
        self.step = 0
        self.seconds = 0.0
        self.images_seen = 0
        self._sums = torch.zeros(len(_SUMMED), dtype=torch.float64, device=device)
        self._summed_steps = 0
        self._summed_since = (0.0, 0)

    def advance(self) -> LossTerms:
        """Take one step of the optimiser and return the losses it was taken on."""
        began = time.perf_counter()
        images, labels = self._batch()
        self.model.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            terms = swwae_loss(self.model, images, labels, self.loss)
        self.optimizer.zero_grad(set_to_none=True)
        terms.total.backward()
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        self.optimizer.step()
        self.schedule.step()

        measured = (terms.total, terms.nll, terms.reconstruction, terms.middle, norm)
        absent = terms.total.new_zeros(())
        self._sums += torch.stack([absent if value is None else value.detach() for value in measured])
        self._summed_steps += 1
        self.step += 1
        self.images_seen += len(images)
        self.seconds += time.perf_counter() - began
        return terms

    def take_averages(self) -> dict[str, Any]:
        """Return the columns of ``metrics.csv`` averaged over the steps since the last call, and start over.

        Raises:
            TrainingDiverged: the loss of one of those steps is not finite.
        """
        began = time.perf_counter()
        averages = (self._sums / self._summed_steps).tolist()
        # Reading the sums waits for the steps a GPU has still to do, which belong to the time of training.
        self.seconds += time.perf_counter() - began
        if not math.isfinite(averages[0]):
            raise TrainingDiverged(
                f"{self.network}, round {self.round_number}: the loss became {averages[0]} by step {self.step}; "
                "try a smaller optimizer.lr or smaller loss weights"
            )
        seconds, images = self._summed_since
        row = {
            "round": self.round_number,
            "network": self.network,
            "epoch": self.step / self.steps_per_epoch,
            "step": self.step,
            "seconds": round(self.seconds, 3),
            "images_per_second": round((self.images_seen - images) / max(self.seconds - seconds, 1e-9), 1),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            **dict(zip(_SUMMED, averages, strict=True)),
        }
        if self.loss.mode == "unsupervised":
            row["nll_nats"] = None
        if self.loss.mode == "supervised":
            row["reconstruction_loss"] = row["middle_loss"] = None
        self._sums.zero_()
        self._summed_steps = 0
        self._summed_since = (self.seconds, self.images_seen)
        return row

    def state(self) -> dict[str, Any]:
        """Return everything that :meth:`restore` needs, random states included."""
        return {
            "network": self.network,
            "round": self.round_number,
            "image_shape": (self.model.in_channels, *self.model.image_size),
            "step": self.step,
            "seconds": self.seconds,
            "images_seen": self.images_seen,
            "sums": (self._sums, self._summed_steps, self._summed_since),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": random_states(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state` of a fit with the same configuration and data."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.images_seen = state["images_seen"]
        sums, self._summed_steps, self._summed_since = state["sums"]
        self._sums = sums.to(self.device)
        restore_random_states(state["random"])

    def _seed_everything(self, seed: int) -> None:
        # Both networks of a round start from the same weights: the comparison is of training, not of luck.
        number = derive_seed(seed, "weights and dropout", self.round_number)
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)

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


_SUMMED = ("loss", "nll_nats", "reconstruction_loss", "middle_loss", "gradient_norm")


def _images_of_mode(mode: str, data: TrainingData, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the images that are learnt with a label and those without one, on the device."""
    labelled, unlabelled = data.labelled.images, data.unlabelled
    if mode == "unsupervised":
        unlabelled = torch.cat([unlabelled, labelled]) if len(unlabelled) else labelled
        labelled = labelled[:0]
    if mode == "supervised":
        unlabelled = unlabelled[:0]
    return labelled.to(device), unlabelled.to(device)

"""Steps of training: a network, its optimiser, and its place in the run."""

from __future__ import annotations

import math
import random
import time
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from wwae.training.checkpoints import random_states, restore_random_states
from wwae.training.losses import LossTerms

__all__ = ["Fit", "TrainingDiverged", "seed_everything"]


class TrainingDiverged(RuntimeError):
    """The loss is not a finite number any more."""


class Fit(ABC):
    """A network with its optimiser and its place in the run; :meth:`advance` takes one step.

    Args:
        network (str): its name in ``metrics.csv``.
        model (nn.Module): on ``device``; its parameters that require a gradient are those of ``optimizer``.
        optimizer (Optimizer), schedule (LRScheduler): advanced at each step.
        steps (int), steps_per_epoch (int): the length of the run.
        device (torch.device), precision (str): where and in which arithmetic the losses are computed.
        round_number (int): its round in ``metrics.csv``; default 1.
    """

    rate_setting = "optimizer.lr"
    """Named when training diverges."""

    def __init__(
        self,
        network: str,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: LRScheduler,
        *,
        steps: int,
        steps_per_epoch: int,
        device: torch.device,
        precision: str,
        round_number: int = 1,
    ) -> None:
        self.network = network
        self.round_number = round_number
        self.model = model
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = optimizer
        self.schedule = schedule
        self.steps = steps
        self.steps_per_epoch = steps_per_epoch
        self.device = device
        self.precision = precision
        self.step = 0
        self.seconds = 0.0
        self.images_seen = 0
        self._sums = torch.zeros(len(_SUMMED), dtype=torch.float64, device=device)
        self._absent: set[str] = set()
        self._summed_steps = 0
        self._summed_since = (0.0, 0)

    @abstractmethod
    def losses(self) -> tuple[LossTerms, int]:
        """Return the losses on the batch of step ``self.step``, and how many images it has."""

    def advance(self) -> LossTerms:
        """Take one step of the optimiser and return the losses it was taken on."""
        began = time.perf_counter()
        self.model.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            terms, images = self.losses()
        self.optimizer.zero_grad(set_to_none=True)
        terms.total.backward()
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        self.optimizer.step()
        self.schedule.step()

        measured = (terms.total, terms.nll, terms.reconstruction, terms.middle, norm)
        absent = terms.total.new_zeros(())
        self._absent = {name for name, value in zip(_SUMMED, measured, strict=True) if value is None}
        self._sums += torch.stack([absent if value is None else value.detach() for value in measured])
        self._summed_steps += 1
        self.step += 1
        self.images_seen += images
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
                f"try a smaller {self.rate_setting} or smaller loss weights"
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
            **{name: None if name in self._absent else value for name, value in zip(_SUMMED, averages, strict=True)},
        }
        self._sums.zero_()
        self._summed_steps = 0
        self._summed_since = (self.seconds, self.images_seen)
        return row

    def state(self) -> dict[str, Any]:
        """Return everything that :meth:`restore` needs, random states included."""
        return {
            "network": self.network,
            "round": self.round_number,
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


_SUMMED = ("loss", "nll_nats", "reconstruction_loss", "middle_loss", "gradient_norm")


def seed_everything(number: int) -> None:
    """Seed every random number generator that training may draw from."""
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)

"""One stage of training an augmented classifier: what is learnt from which images, at which rates."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from wwae.models import AugmentedClassifier, AugmentedOutput
from wwae.training.dataset import ImageSet, ShuffledBatches, derive_seed, to_float
from wwae.training.fit import Fit
from wwae.training.losses import LossTerms
from wwae.training.optimization import make_optimizer, make_schedule
from wwae.training.reconstruction_loss import ReconstructionLoss
from wwae.training.staged_configuration import StageConfiguration

__all__ = ["ImageBatches", "Objective", "StageFit", "classification", "joint", "layerwise", "parameter_groups", "stacked"]

Objective = Callable[[Any, Tensor, Tensor], LossTerms]
"""From the model, images, and the labels of the first of them (of none in the decoder's stages) to the losses."""

BIAS_RATE = 2.0
"""The rate of biases by that of weights; they do not decay (the authors' released configuration)."""


class ImageBatches:
    """Batches of one image set, each in the order and with the crops of its step alone.

    Args:
        images (ImageSet): what they are read from.
        batch_size (int): images in a batch.
        seed (int): start of the orders and of the crops.
    """

    def __init__(self, images: ImageSet, batch_size: int, seed: int) -> None:
        self.images = images
        self.seed = seed
        self.order = ShuffledBatches(len(images), batch_size, seed)

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return images (float32) and labels of a step."""
        batch = self.images.read(self.order[step], derive_seed(self.seed, "crop", step))
        return to_float(batch.images), batch.labels

    def between(self, first: int, last: int, workers: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Return the batches of some steps in their order, read ahead by so many processes, at most one for each processor."""
        if workers == 0:
            return (self[step] for step in range(first, last))
        workers = min(workers, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        # A generator of its own: the loader must not draw from the one that dropout draws from.
        options = {"sampler": range(first, last), "num_workers": workers, "generator": torch.Generator()}
        return map(_unwrapped, DataLoader(_Guarded(self), batch_size=None, **options))  # type: ignore[arg-type]


class _Guarded:
    """Batches that are read in another process, whose loader would put a traceback into the message of an error."""

    def __init__(self, batches: ImageBatches) -> None:
        self.batches = batches

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor] | tuple[Exception, str]:
        try:
            return self.batches[step]
        except Exception as error:  # raised again where it is awaited
            return error, traceback.format_exc()


def _unwrapped(batch: tuple[Tensor, Tensor] | tuple[Exception, str]) -> tuple[Tensor, Tensor]:
    first, second = batch
    if isinstance(first, Exception):
        raise first from RuntimeError(f"in the process that reads batches:\n{second}")
    return first, second  # type: ignore[return-value]


class StageFit(Fit):
    """A stage of a run. Step ``s`` depends on the seed, the stage and the weights alone.

    Args:
        name (str): of the stage, in ``metrics.csv``.
        model (nn.Module): on ``device``, with the weights that the stage starts from.
        objective (Objective): its losses.
        groups (list[dict]): what is trained and at which rate, from :func:`parameter_groups`.
        settings (StageConfiguration): update rule and schedule; ``setting`` is its name.
        labelled (ImageBatches | None): images whose labels are learnt.
        unlabelled (ImageBatches | None): images that are reconstructed only; one of the two is there.
        epochs (int): passes over the labelled images, or where there are none over the unlabelled ones.
        loss (ReconstructionLoss | None): the loss of ``objective`` whose weights belong to the state.
        workers (int): processes that read batches ahead, for each of the two; 0 reads them between the steps.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        objective: Objective,
        groups: list[dict[str, Any]],
        settings: StageConfiguration,
        setting: str,
        *,
        labelled: ImageBatches | None = None,
        unlabelled: ImageBatches | None = None,
        epochs: int,
        device: torch.device,
        precision: str,
        loss: ReconstructionLoss | None = None,
        workers: int = 0,
    ) -> None:
        counted = labelled or unlabelled
        assert counted is not None
        steps_per_epoch = counted.order.steps_per_epoch
        optimizer = make_optimizer(settings, groups)
        super().__init__(
            name,
            model,
            optimizer,
            make_schedule(settings, optimizer, max(1, steps_per_epoch * epochs)),
            steps=steps_per_epoch * epochs,
            steps_per_epoch=steps_per_epoch,
            device=device,
            precision=precision,
        )
        self.rate_setting = f"{setting}.lr"
        self.objective = objective
        self.labelled = labelled
        self.unlabelled = unlabelled
        self.loss = loss
        self.workers = workers
        self._batches: list[Iterator[tuple[Tensor, Tensor]]] | None = None

    def losses(self) -> tuple[LossTerms, int]:
        if self._batches is None:
            sources = [part for part in (self.labelled, self.unlabelled) if part is not None]
            self._batches = [source.between(self.step, self.steps, self.workers) for source in sources]
        parts = [next(batches) for batches in self._batches]
        images = torch.cat([images for images, _ in parts]).to(self.device).contiguous(memory_format=torch.channels_last)
        labels = parts[0][1] if self.labelled is not None else parts[0][1][:0]
        return self.objective(self.model, images, labels.to(self.device)), len(images)

    def state(self) -> dict[str, Any]:
        return super().state() | {"loss": None if self.loss is None else self.loss.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._batches = None
        if self.loss is not None:
            self.loss.load_state_dict(state["loss"])


def parameter_groups(model: nn.Module, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Return what of ``model`` requires a gradient as groups of an optimiser: weights, then biases."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for name, p in named if not name.endswith("bias")], "lr": lr, "weight_decay": weight_decay},
        {"params": [p for name, p in named if name.endswith("bias")], "lr": BIAS_RATE * lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def classification(model: nn.Module, images: Tensor, labels: Tensor) -> LossTerms:
    """The loss of a classifier alone: stage 0, and the control."""
    nll = F.cross_entropy(model(images).float(), labels)
    return LossTerms(nll, nll, None, None)


def layerwise(numbers: Sequence[int]) -> Objective:
    """The loss of stage 2 for the macro-layers with these numbers, from 0: unweighted, since their rates differ instead."""

    def objective(model: AugmentedClassifier, images: Tensor, labels: Tensor) -> LossTerms:
        terms = ReconstructionLoss().terms(model(images))
        return _decoder_losses(torch.stack([terms[number] for number in numbers]).sum(), {n: terms[n] for n in numbers})

    return objective


def stacked(loss: ReconstructionLoss) -> Objective:
    """The loss of stage 3."""

    def objective(model: AugmentedClassifier, images: Tensor, labels: Tensor) -> LossTerms:
        terms = loss.terms(model(images))
        return _decoder_losses(loss.weighted(terms), dict(enumerate(terms)))

    return objective


def joint(loss: ReconstructionLoss, weight: float) -> Objective:
    """The loss of stage 4, equation 2: the labelled images, the first ones, are classified, and all are reconstructed."""

    def objective(model: AugmentedClassifier, images: Tensor, labels: Tensor) -> LossTerms:
        output: AugmentedOutput = model(images)
        terms = loss.terms(output)
        nll = F.cross_entropy(output.logits[: len(labels)].float(), labels)
        losses = _decoder_losses(nll + weight * loss.weighted(terms), dict(enumerate(terms)))
        return losses._replace(nll=nll)

    return objective


def _decoder_losses(total: Tensor, terms: dict[int, Tensor]) -> LossTerms:
    """``reconstruction`` is the loss at the images, ``middle`` the sum of the others, both before their weights."""
    inner = [term for number, term in terms.items() if number > 0]
    return LossTerms(total, None, terms.get(0), torch.stack(inner).sum() if inner else None)

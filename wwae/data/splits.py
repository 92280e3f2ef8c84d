"""Which training images keep their labels: the semi-supervised protocol of Zhao et al.

Zhao, Mathieu, Goroshin and LeCun, Stacked What-Where Auto-encoders, 2015, arXiv:1506.02351, section 4.3.1: the labelled
set has the same number of images of each class, the rest of the training set is used without labels, and the draw is
made anew for every round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wwae.training.configuration import ConfigurationError
from wwae.training.dataset import derive_seed

__all__ = ["SemiSupervisedSplit", "semi_supervised_split"]


@dataclass(frozen=True)
class SemiSupervisedSplit:
    """Positions in the training set, each Tensor[M], int64, ascending; the three are disjoint and cover the set.

    Args:
        labelled: images used with their labels.
        unlabelled: images used without; empty when every label is used.
        validation: images held out of training, with their labels.
    """

    labelled: Tensor
    unlabelled: Tensor
    validation: Tensor


def semi_supervised_split(
    labels: Tensor,
    *,
    classes: int,
    labelled: int | Literal["all"],
    validation: int = 0,
    labelled_seed: int = 0,
    validation_seed: int = 0,
) -> SemiSupervisedSplit:
    """Divide a training set into labelled, unlabelled and validation images.

    A run keeps ``validation_seed`` and takes a new ``labelled_seed`` for each round, so that all rounds are measured on
    the same images. The same arguments give the same split on every device.

    Args:
        labels (Tensor[N], int64): the class of every training image, from 0 to ``classes - 1``.
        classes (int): number of classes.
        labelled (int | "all"): how many images keep their labels, the same number of each class; ``"all"`` takes every
            image that is not held out, in whatever balance the data set has.
        validation (int): how many images to hold out, drawn over the whole set; default 0.
        labelled_seed (int): start of the labelled draw, at least 0; default 0.
        validation_seed (int): start of the validation draw, at least 0; default 0.

    Raises:
        ConfigurationError: ``labelled`` is not a positive multiple of ``classes``, a class has too few images, or
            ``validation`` leaves nothing to train on.
    """
    if not 0 <= validation < len(labels):
        raise ConfigurationError(
            f"data.validation: expected from 0 to {len(labels) - 1} of the {len(labels)} training images, got {validation}"
        )
    order = _permutation(len(labels), derive_seed(validation_seed, "validation"))
    held_out, pool = order[:validation].sort().values, order[validation:].sort().values
    chosen = pool
    if labelled != "all":
        _check_balance(labels[pool], classes, labelled)
        chosen = _balanced_draw(labels, pool, classes, labelled, derive_seed(labelled_seed, "labelled"))
    is_unlabelled = torch.zeros(len(labels), dtype=torch.bool)
    is_unlabelled[pool] = True
    is_unlabelled[chosen] = False
    return SemiSupervisedSplit(labelled=chosen, unlabelled=is_unlabelled.nonzero().flatten(), validation=held_out)


def _check_balance(labels: Tensor, classes: int, number: int) -> None:
    if number <= 0 or number % classes != 0:
        below = max(number // classes, 0) * classes
        nearest = f"{below} or {below + classes}" if below else f"{classes}"
        raise ConfigurationError(
            f"data.labels: expected a positive multiple of the {classes} classes, so that each has the same number, "
            f"got {number} (nearest: {nearest})"
        )
    available = labels.bincount(minlength=classes)
    rarest = int(available.argmin())
    if number // classes > available[rarest]:
        raise ConfigurationError(
            f"data.labels: expected at most {classes * int(available[rarest])}, because class {rarest} has only "
            f"{int(available[rarest])} training images, or 'all', got {number}"
        )


def _balanced_draw(labels: Tensor, pool: Tensor, classes: int, number: int, seed: int) -> Tensor:
    shuffled = pool[_permutation(len(pool), seed)]
    per_class = number // classes
    return torch.cat([shuffled[labels[shuffled] == label][:per_class] for label in range(classes)]).sort().values


def _permutation(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))

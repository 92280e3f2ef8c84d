"""Batches of crops, each of them a function of its number: a run that goes on where it stopped sees what it would have seen."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.utils.data import Dataset

from wwae.data.crops import Crop
from wwae.data.photographs import Photographs
from wwae.training.dataset import ShuffledBatches, Split, derive_seed

__all__ = ["PhotographBatches", "crop_all"]


class PhotographBatches(Dataset[tuple[Tensor, Tensor]]):
    """``batches[step]`` is a batch of random crops and their labels; it depends on ``seed`` and ``step`` alone.

    Batches go through the photographs in a new order at each pass and are always full; the last may reach into the next pass.
    Worker processes prepare them ahead with ``DataLoader(batches, batch_size=None, sampler=range(first, last), num_workers=N)``.

    Args:
        photographs (Photographs): at least one.
        crop (Crop): such as :func:`wwae.data.vgg_crop`; its sizes are the same for each picture.
        batch_size (int): pictures in a batch.
        seed (int): start of the orders and of the random crops.

    Raises:
        DataError: on reading a batch, where a picture cannot be read.
    """

    def __init__(self, photographs: Photographs, crop: Crop, batch_size: int, seed: int) -> None:
        self.photographs = photographs
        self.crop = crop
        self.seed = seed
        self.order = ShuffledBatches(len(photographs), batch_size, derive_seed(seed, "order"))

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one pass over the photographs, to the nearest whole number."""
        return self.order.steps_per_epoch

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return images (N, 3, H, W), float32, RGB in [0, 1], and labels (N,), int64."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, "crops", step))
            split = crop_all(self.photographs, self.crop, self.order[step].tolist())
        return split.images, split.labels


def crop_all(photographs: Photographs, crop: Crop, positions: Iterable[int] | None = None) -> Split:
    """Crop the pictures at some positions, or all of them, into memory: float32, RGB in [0, 1].

    Raises:
        DataError: a picture cannot be read.
    """
    chosen = list(range(len(photographs)) if positions is None else positions)
    return Split(torch.stack([crop(photographs[position][0]) for position in chosen]), photographs.labels[chosen])

"""The images a run learns from, held in memory, and the order in which training sees them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["ImageSet", "ShuffledBatches", "Split", "StagedData", "TrainingData", "derive_seed", "to_float"]


@dataclass(frozen=True)
class Split:
    """Images with their labels.

    Args:
        images (Tensor[N, C, H, W], float32 in [0, 1] | uint8 in [0, 255]): the images, N >= 0.
        labels (Tensor[N], int64): class of each image, from 0.

    Raises:
        ValueError: the shapes do not belong together, or a dtype is another one.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        _check_images("Split", "images", self.images)
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"Split: expected labels of shape [{len(self.images)}] and dtype torch.int64 to match images, "
                f"got {list(self.labels.shape)} {self.labels.dtype}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def read(self, positions: Tensor, seed: int | None = None) -> Split:
        """Return the images at some positions, as an :class:`ImageSet` does; they are not augmented, so ``seed`` is not used."""
        return Split(self.images[positions], self.labels[positions])


class ImageSet(Protocol):
    """Labelled images of one size that are read when they are needed; a :class:`Split` is one in memory."""

    def __len__(self) -> int: ...

    def read(self, positions: Tensor, seed: int | None = None) -> Split:
        """Return the images at ``positions`` (int64, shape (N,)), each in the range from 0 to ``len(self) - 1``.

        Args:
            positions (Tensor): which images.
            seed (int | None): what random crops and mirrors are drawn from, the same for the same seed; None returns the images as
                they are evaluated.
        """
        ...


@dataclass(frozen=True)
class TrainingData:
    """Everything one round of training needs. The images of all parts have the same (C, H, W) and dtype.

    Args:
        labelled (Split): images whose labels are learnt.
        unlabelled (Tensor[M, C, H, W], float32 in [0, 1] | uint8): images learnt without labels; M may be 0.
        test (Split): images the final errors are measured on.
        validation (Split | None): images held out of training to choose settings on.

    Raises:
        ValueError: the parts have images of different shapes or dtypes.
    """

    labelled: Split
    unlabelled: Tensor
    test: Split
    validation: Split | None = None

    def __post_init__(self) -> None:
        _check_images("TrainingData", "unlabelled", self.unlabelled)
        shape = self.labelled.images.shape[1:]
        others = {"unlabelled": self.unlabelled, "test": self.test.images}
        if self.validation is not None:
            others["validation"] = self.validation.images
        for name, images in others.items():
            if images.shape[1:] != shape or images.dtype != self.labelled.images.dtype:
                raise ValueError(
                    f"TrainingData: expected {name} images of shape {list(shape)} and dtype "
                    f"{self.labelled.images.dtype} as the labelled ones, got {list(images.shape[1:])} {images.dtype}"
                )


@dataclass(frozen=True)
class StagedData:
    """What a run in stages needs. The images of all parts have the same (C, H, W).

    Args:
        labelled (ImageSet): images whose labels are learnt.
        everything (ImageSet): the images that decoders learn to reconstruct, labelled or not; their labels are not used.
        test (ImageSet): images the final errors are measured on.
        classes (int): labels lie in [0, classes).
        unlabelled (ImageSet | None): images that the joint stage reconstructs without their labels.
        validation (ImageSet | None): images held out of training to choose settings on.
        whole (ImageSet | None): the test images in a larger size, each of its own, for fully convolutional evaluation; None where
            those of ``test`` are enlarged.
    """

    labelled: ImageSet
    everything: ImageSet
    test: ImageSet
    classes: int
    unlabelled: ImageSet | None = None
    validation: ImageSet | None = None
    whole: ImageSet | None = None

    @classmethod
    def from_memory(cls, data: TrainingData, classes: int) -> StagedData:
        """Take the images of one round; those without a label count as class 0, which nobody learns."""
        unlabelled = Split(data.unlabelled, torch.zeros(len(data.unlabelled), dtype=torch.int64))
        everything = data.labelled
        if len(unlabelled):
            images = torch.cat([data.labelled.images, unlabelled.images])
            everything = Split(images, torch.cat([data.labelled.labels, unlabelled.labels]))
        return cls(data.labelled, everything, data.test, classes, unlabelled if len(unlabelled) else None, data.validation)


def _check_images(owner: str, name: str, images: Tensor) -> None:
    if images.dim() != 4 or images.dtype not in (torch.float32, torch.uint8):
        raise ValueError(
            f"{owner}: expected {name} of shape [N, C, H, W] and dtype torch.float32 or torch.uint8, "
            f"got {list(images.shape)} {images.dtype}"
        )


def to_float(images: Tensor) -> Tensor:
    """Return the images as float32 in [0, 1]; uint8 is divided by 255."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images


def derive_seed(seed: int, *path: int | str) -> int:
    """Return a seed for one purpose of a run, such as ``derive_seed(seed, "order", epoch)``, in [0, 2**32).

    Seeds of different paths are independent of each other, and none depends on what was drawn before.
    """
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


class ShuffledBatches:
    """Index batches over ``count`` images, in a new order at each pass; ``batches[step]`` does not depend on other
    steps.

    The passes are laid end to end and cut into batches, so that every batch is full: one may begin in one pass and
    end in the next. The order of pass ``p`` depends on ``(seed, p)`` alone. With fewer images than ``batch_size``, a
    batch is one whole pass.

    Args:
        count (int): images to go through, at least 1.
        batch_size (int): images in a batch, at least 1.
        seed (int): start of the orders.

    Raises:
        ValueError: ``count`` or ``batch_size`` is below 1.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        if count < 1 or batch_size < 1:
            raise ValueError(f"ShuffledBatches: expected count and batch_size at least 1, got {count} and {batch_size}")
        self.count = count
        self.batch_size = min(batch_size, count)
        self.seed = seed
        self._orders: dict[int, Tensor] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass over the images, to the nearest whole step."""
        return max(1, round(self.count / self.batch_size))

    def __getitem__(self, step: int) -> Tensor:
        """Return the indices of one batch: int64, shape (batch_size,)."""
        first, last = step * self.batch_size, (step + 1) * self.batch_size - 1
        passes = range(first // self.count, last // self.count + 1)
        self._orders = {number: self._order(number) for number in passes}
        start = first - passes[0] * self.count
        return torch.cat(list(self._orders.values()))[start : start + self.batch_size]

    def _order(self, number: int) -> Tensor:
        if number in self._orders:
            return self._orders[number]
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "pass", number))
        return torch.randperm(self.count, generator=generator)

"""The images a run learns from, held in memory, and the order in which training sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Split", "TrainingData", "derive_seed", "shuffled_batches", "to_float"]


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


@dataclass(frozen=True)
class TrainingData:
    """Everything one round of training needs. The images of all parts have the same (C, H, W).

    Args:
        labelled (Split): images whose labels are learnt.
        unlabelled (Tensor[M, C, H, W], float32 in [0, 1] | uint8): images learnt without labels; M may be 0.
        test (Split): images the final errors are measured on.
        validation (Split | None): images held out of training to choose settings on.

    Raises:
        ValueError: the parts have images of different shapes.
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
            if images.shape[1:] != shape:
                raise ValueError(
                    f"TrainingData: expected {name} images of shape {list(shape)} as the labelled ones, "
                    f"got {list(images.shape[1:])}"
                )


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
    """Return a seed for one purpose of a run, such as ``derive_seed(seed, "order", epoch)``, in [0, 2**63).

    Seeds of different paths are independent of each other, and none depends on what was drawn before.
    """
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def shuffled_batches(count: int, batch_size: int, seed: int, first_pass: int = 0) -> Iterator[Tensor]:
    """Yield index batches over ``count`` images without end, in a new order at each pass.

    The order of pass ``p`` depends on ``(seed, p)`` alone. Every batch is full (a pass may end inside a batch, which then
    goes on with the next pass), so the steps of a run all weigh the same; with fewer images than ``batch_size`` a batch is
    one whole pass.

    Raises:
        ValueError: there are no images.
    """
    if count < 1:
        raise ValueError(f"shuffled_batches: expected count at least 1, got {count}")
    batch_size = min(batch_size, count)
    pending = torch.empty(0, dtype=torch.int64)
    while True:
        while len(pending) < batch_size:
            generator = torch.Generator().manual_seed(derive_seed(seed, first_pass))
            pending = torch.cat([pending, torch.randperm(count, generator=generator)])
            first_pass += 1
        yield pending[:batch_size]
        pending = pending[batch_size:]

"""What a classifier and its decoders are measured by: errors in percent, and squared errors of reconstructions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from wwae.models import AugmentedClassifier
from wwae.models.augment import Variant
from wwae.models.decoder import SwitchKind
from wwae.training.dataset import ImageSet, to_float
from wwae.training.evaluation import evaluating

__all__ = ["decoding", "mirrored", "reconstruction_errors", "resized", "top_errors"]

# Of a batch: 250 images of 32 x 32, 20 of 224 x 224, whose maps in VGG-16 then take a gigabyte with its decoder.
BATCH_SIZE = 250
BATCH_PIXELS = 2**20


def top_errors(
    classifier: nn.Module,
    images: ImageSet,
    ranks: tuple[int, ...] = (1,),
    prepare: Callable[[Tensor], list[Tensor]] = lambda x: [x],
    batch_size: int | None = None,
) -> tuple[float, ...]:
    """Return for each rank the share of images whose class is not among so many highest scores, in percent.

    Args:
        classifier (nn.Module): images (N, C, H, W) to scores (N, classes).
        images (ImageSet): at least one image.
        ranks (tuple[int, ...]): ``(1, 5)`` for top-1 and top-5.
        prepare: from a batch to the versions of it whose scores are averaged, such as itself and its mirror image.
        batch_size (int or None): images read at once; 1 where they have different sizes. Default: None, as many as fit memory well.

    Raises:
        ValueError: there are no images.
    """
    wrong = [0] * len(ranks)
    with evaluating(classifier):
        for batch, labels in _batches("top_errors", classifier, images, batch_size):
            scores = torch.stack([classifier(version).float() for version in prepare(batch)]).mean(0)
            # The rank of the right class: how many classes have a higher score.
            own = scores.gather(1, labels[:, None])
            # A score that is no number is above every other: a network that diverged is wrong.
            above = (~(scores <= own)).sum(1)
            wrong = [count + int((above >= rank).sum()) for count, rank in zip(wrong, ranks, strict=True)]
    return tuple(100.0 * count / len(images) for count in wrong)


def reconstruction_errors(model: AugmentedClassifier, images: ImageSet) -> tuple[float, ...]:
    """Return the squared error of every reconstruction, the images' first: summed over a map, averaged over the images.

    Raises:
        ValueError: there are no images.
    """
    totals: list[float] = []
    with evaluating(model):
        for batch, _ in _batches("reconstruction_errors", model, images):
            output = model(batch)
            errors = [
                float((reconstruction.float() - target.float()).double().square().sum())
                for reconstruction, target in zip(output.reconstructions, output.targets, strict=True)
            ]
            totals = [a + b for a, b in zip(totals or [0.0] * len(errors), errors, strict=True)]
    return tuple(total / len(images) for total in totals)


@contextmanager
def decoding(model: AugmentedClassifier, variant: Variant | None = None, switches: SwitchKind | None = None) -> Iterator[None]:
    """The model with the same weights as another variant or with another kind of switches inside the block."""
    before = model.variant, model.switches
    model.variant, model.switches = variant or model.variant, switches or model.switches
    try:
        yield
    finally:
        model.variant, model.switches = before


def mirrored(images: Tensor) -> list[Tensor]:
    """Return the images and their mirror images."""
    return [images, images.flip(3)]


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the images at another height and width, smoothed before they are made smaller."""
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def _batches(operation: str, model: nn.Module, images: ImageSet, batch_size: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    if len(images) == 0:
        raise ValueError(f"{operation}: expected at least one image, got none")
    device = next(model.parameters()).device
    batch_size = batch_size or _batch_size(images)
    # On a terminal, once it takes long.
    with tqdm(total=len(images), desc="measure", unit="image", disable=None, delay=5, leave=False) as bar:
        for positions in torch.arange(len(images)).split(batch_size):
            batch = images.read(positions)
            yield to_float(batch.images.to(device)).contiguous(memory_format=torch.channels_last), batch.labels.to(device)
            bar.update(len(positions))


def _batch_size(images: ImageSet) -> int:
    height, width = images.read(torch.arange(1)).images.shape[-2:]
    return min(BATCH_SIZE, max(1, BATCH_PIXELS // (height * width)))

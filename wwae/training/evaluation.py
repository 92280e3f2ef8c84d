"""What a trained network is measured by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import torch
from torch import Tensor, nn

from wwae.models import SWWAE
from wwae.models.swwae import Unpooling
from wwae.training.dataset import Split, to_float

__all__ = ["classification_error", "evaluating", "reconstruct", "reconstruction_l2"]

BATCH_SIZE = 500


def classification_error(model: SWWAE, split: Split) -> float:
    """Return the share of images that get a wrong class, in percent; the decoder is not run.

    Raises:
        ValueError: the split has no images.
    """
    if len(split) == 0:
        raise ValueError("classification_error: expected at least one image, got none")
    wrong = 0
    with evaluating(model):
        for images, labels in zip(split.images.split(BATCH_SIZE), split.labels.split(BATCH_SIZE), strict=True):
            wrong += int((model.classify(_on_device(model, images)).argmax(1).cpu() != labels.cpu()).sum())
    return 100.0 * wrong / len(split)


def reconstruction_l2(model: SWWAE, images: Tensor) -> float:
    """Return the squared error of the reconstruction, summed over an image's elements and averaged over the images.

    Args:
        images (Tensor[N, C, H, W], float32 in [0, 1] | uint8): at least one image.

    Raises:
        ValueError: there are no images.
    """
    if len(images) == 0:
        raise ValueError("reconstruction_l2: expected at least one image, got none")
    total = 0.0
    with evaluating(model):
        for batch in images.split(BATCH_SIZE):
            target = _on_device(model, batch)
            total += float((model(target).reconstruction.float() - target).double().square().sum())
    return total / len(images)


def reconstruct(model: SWWAE, images: Tensor) -> dict[str, Tensor]:
    """Reconstruct images with each way of unpooling, by :meth:`SWWAE.reconstruct`.

    Args:
        images (Tensor[N, C, H, W], float32 in [0, 1] | uint8): the images.

    Returns:
        ``{"known": ..., "fixed": ..., "upsample": ...}``, each (N, C, H, W) float32 on the CPU, not clamped.
    """
    reconstructions: dict[Unpooling, list[Tensor]] = {unpool: [] for unpool in get_args(Unpooling)}
    with evaluating(model):
        for batch in images.split(BATCH_SIZE):
            for unpool, batches in reconstructions.items():
                batches.append(model.reconstruct(_on_device(model, batch), unpool).float().cpu())
    return {unpool: torch.cat(batches) for unpool, batches in reconstructions.items()}


def _on_device(model: SWWAE, images: Tensor) -> Tensor:
    device = next(model.parameters()).device
    return to_float(images.to(device)).contiguous(memory_format=torch.channels_last)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode without gradients, and in its own mode again afterwards."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)

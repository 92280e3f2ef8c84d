"""A small learnable data set and a small run, shared by the tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from wwae.training import Split, TrainingConfiguration, TrainingData

CLASSES = 3


def bars(count: int, seed: int) -> Split:
    """Images (1, 12, 12) with a bright bar at one of three heights, which is the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    images = 0.4 * torch.rand(count, 1, 12, 12, generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[0, 4 * label : 4 * label + 3] += 0.5
    return Split((images * 255).to(torch.uint8), labels)


def load_bars(seed: int) -> TrainingData:
    """The labelled images change with the seed; the others stay."""
    return TrainingData(bars(12, seed), bars(40, 1).images, test=bars(30, 2), validation=bars(15, 3))


def small_run(directory: Path | None = None, **changes: Any) -> TrainingConfiguration:
    """Three epochs of four steps, every step logged, a checkpoint after every fifth step."""
    base = TrainingConfiguration().updated(
        {
            "epochs": 3,
            "seed": 7,
            "device": "cpu",
            "model": {"architecture": "(8)3c-2p-(8)3c-2p-3fc", "dropout": 0.3},
            "optimizer": {"lr": 0.01, "labelled_batch_size": 5, "unlabelled_batch_size": 10},
            "run": {"dir": directory, "log_every": 1, "checkpoint_every": 5},
        }
    )
    return base.updated(changes)

"""The measurements of Zhang et al. (2016, arXiv:1606.06582) on a finished run: section 4.3, appendices A2.1 and A2.2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from wwae.models import fully_convolutional
from wwae.training.classifier_evaluation import decoding, mirrored, reconstruction_errors, resized, top_errors
from wwae.training.dataset import ImageSet, Split, StagedData, derive_seed
from wwae.training.run_directory import RunDirectory
from wwae.training.stages import Stages, read_weights

__all__ = ["early_share", "evaluate_stages", "filter_changes"]

SCALE = 256 / 224
"""Of the images in the convolution protocol, by those that the network was trained on."""

NETWORKS = ("classifier", "control", "joint")


def evaluate_stages(stages: Stages, directory: RunDirectory, train_images: int = 50_000, mirror: bool = True) -> dict[str, Any]:
    """Measure the classifier of stage 0, the control and the augmented network of a finished run.

    Args:
        stages (Stages): makes the networks of the run, and has its data.
        directory (RunDirectory): has their weights.
        train_images (int): images drawn from the labelled training set for the training error; default 50,000 as in the paper, or
            all of them where there are fewer.
        mirror (bool): average the convolution scores over an image and its mirror image; for digits it makes no sense.

    Returns:
        ``networks``: for each of ``classifier``, ``control`` and ``joint`` the errors in percent: ``top1``, ``top5`` (single crop),
        ``train_top1``, ``train_top5``, ``convolution_top1``, ``convolution_top5`` and, but for the classifier, ``filter_change`` by
        layer. ``reconstruction_l2``: of the augmented network under ``known`` and ``fixed`` switches. ``gain_share_early``: as
        :func:`early_share`. ``train_images``.

    Raises:
        CheckpointError: a stage is missing or its checkpoint is damaged.
    """
    data = stages.data
    train = _random_part(data.labelled, train_images, stages.configuration.seed)
    before = stages.classifier(read_weights(directory, "classifier"))
    networks: dict[str, dict[str, Any]] = {}
    for name in NETWORKS:
        weights = read_weights(directory, name)
        classifier = stages.augmented(weights).classifier if name == "joint" else stages.classifier(weights)
        networks[name] = _errors(classifier, data, train, mirror)
        if name != "classifier":
            networks[name]["filter_change"] = filter_changes(before, classifier)
    model = stages.augmented(read_weights(directory, "joint"))
    l2 = {}
    for switches in ("known", "fixed"):
        with decoding(model, switches=switches):
            l2[switches] = reconstruction_errors(model, data.test)[0]
    start = networks["classifier"]["top1"]
    share = early_share(directory.read_metrics(), start)
    return {"networks": networks, "reconstruction_l2": l2, "gain_share_early": share, "train_images": len(train)}


def filter_changes(before: nn.Module, after: nn.Module) -> dict[str, float]:
    """Return for each convolution and inner product how much its weights changed, ``Σ |w' - w| / Σ |w|``, in percent."""
    changed = dict(after.named_modules())
    changes = {}
    for name, module in before.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            weight: Tensor = changed[name].weight
            difference = (weight - module.weight).detach().double().abs().sum()
            changes[name] = 100.0 * float(difference / module.weight.detach().double().abs().sum())
    return changes


def early_share(rows: Sequence[Mapping[str, str]], start_error: float, part: float = 0.25) -> float | None:
    """Return the share of the joint stage's gain in test error that was reached after ``part`` of its epochs (section 4.3).

    Args:
        rows: of ``metrics.csv``.
        start_error (float): of the classifier before, in percent.
        part (float): of the epochs; default a quarter, as in the paper, which reached 75 %.

    Returns:
        The share, from the last measurement up to then; None if there is no gain, or none was measured up to then.
    """
    course = [
        (float(row["epoch"]), float(row["test_error_percent"]))
        for row in rows
        if row["network"] == "joint" and row["test_error_percent"]
    ]
    if not course or course[-1][1] >= start_error:
        return None
    early = [error for epoch, error in course if epoch <= part * course[-1][0]]
    return (start_error - early[-1]) / (start_error - course[-1][1]) if early else None


def _errors(classifier: nn.Module, data: StagedData, train: ImageSet, mirror: bool) -> dict[str, Any]:
    ranks = (1, min(5, data.classes - 1))
    top1, top5 = top_errors(classifier, data.test, ranks)
    train_top1, train_top5 = top_errors(classifier, train, ranks)
    dense = fully_convolutional(classifier)
    if data.whole is not None:
        scheme = {"prepare": mirrored if mirror else lambda x: [x], "batch_size": 1}
        images = data.whole
    else:
        scheme = {"prepare": partial(_enlarged, mirror=mirror)}
        images = data.test
    convolution = top_errors(dense, images, ranks, **scheme)  # type: ignore[arg-type]
    names = ("top1", "top5", "train_top1", "train_top5", "convolution_top1", "convolution_top5")
    return dict(zip(names, (top1, top5, train_top1, train_top5, *convolution), strict=True))


def _enlarged(images: Tensor, mirror: bool) -> list[Tensor]:
    height, width = images.shape[-2:]
    larger = resized(images, (round(height * SCALE), round(width * SCALE)))
    return mirrored(larger) if mirror else [larger]


def _random_part(images: ImageSet, count: int, seed: int) -> ImageSet:
    generator = torch.Generator().manual_seed(derive_seed(seed, "training error"))
    chosen = torch.randperm(len(images), generator=generator)[:count].sort().values
    return _Part(images, chosen)


class _Part:
    """Some images of a set."""

    def __init__(self, images: ImageSet, positions: Tensor) -> None:
        self.images = images
        self.positions = positions

    def __len__(self) -> int:
        return len(self.positions)

    def read(self, positions: Tensor, seed: int | None = None) -> Split:
        return self.images.read(self.positions[positions], seed)

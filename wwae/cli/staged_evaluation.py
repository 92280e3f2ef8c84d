"""``wwae evaluate`` of a run in stages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from wwae.data import load_staged_data
from wwae.recipes.augmented import network_name
from wwae.training import RunDirectory, StagedConfiguration, derive_seed
from wwae.training.checkpoints import write_atomically
from wwae.training.staged_evaluation import evaluate_stages
from wwae.training.staged_figures import draw_filters
from wwae.training.stages import Stages, read_weights

__all__ = ["describe_evaluation", "evaluate_run"]

_NAMES = {"classifier": "classifier before", "control": "control, no decoder"}

# The mirror image of a digit is none.
_NOT_MIRRORED = ("digits", "mnist")


def evaluate_run(configuration: StagedConfiguration, directory: RunDirectory, device: torch.device, train_images: int) -> str:
    """Measure a run, write ``evaluation.json`` and ``figures/filters.png`` into its directory, and return it in words."""
    data = load_staged_data(configuration.data, configuration.seed, derive_seed(configuration.seed, "labelled set"))
    stages = Stages(configuration, data, device)
    mirror = configuration.data.dataset not in _NOT_MIRRORED
    result = evaluate_stages(stages, directory, train_images, mirror)
    write_atomically(directory.path / "evaluation.json", json.dumps(result, indent=2) + "\n")
    augmented = stages.augmented(read_weights(directory, "joint")).classifier
    before = stages.classifier(read_weights(directory, "classifier"))
    filters = {"before": _first_filters(before), network_name(configuration): _first_filters(augmented)}
    draw_filters(filters, directory.figures / "filters.png")
    return describe_evaluation(configuration, result, mirror)


def describe_evaluation(configuration: StagedConfiguration, result: Mapping[str, Any], mirror: bool) -> str:
    """The table that ``wwae evaluate`` prints."""
    names = _NAMES | {"joint": network_name(configuration)}
    width = max(map(len, names.values()))
    columns = ("top1", "top5", "train_top1", "train_top5", "convolution_top1", "convolution_top5")
    lines = [
        f"errors in percent: single crop, of {result['train_images']} training images, and fully convolutional"
        + (" with mirror" if mirror else ""),
        f"{'':<{width}}  {'top-1':>7} {'top-5':>7} {'train-1':>7} {'train-5':>7} {'conv-1':>7} {'conv-5':>7}",
    ]
    for network, title in names.items():
        errors = result["networks"][network]
        lines.append(f"{title:<{width}}  " + " ".join(f"{errors[column]:7.2f}" for column in columns))
    known, fixed = result["reconstruction_l2"]["known"], result["reconstruction_l2"]["fixed"]
    trained = configuration.model.switches
    lines.append(
        f"\nsquared reconstruction error of an image: {known:.4g} with known switches, {fixed:.4g} with fixed ones "
        f"(trained with {trained})"
    )
    for network in ("control", "joint"):
        changes = result["networks"][network]["filter_change"]
        mean = sum(changes.values()) / len(changes)
        each = ", ".join(f"{layer} {change:.1f}" for layer, change in changes.items())
        lines.append(f"change of the weights, {names[network]}: {mean:.1f} % on average ({each})")
    share = result["gain_share_early"]
    lines.append(
        "share of the gain after a quarter of the joint stage: "
        + ("no gain, or nothing measured up to then" if share is None else f"{100 * share:.0f} %")
    )
    return "\n".join(lines)


def _first_filters(classifier: nn.Module) -> torch.Tensor:
    return next(module.weight for module in classifier.modules() if isinstance(module, nn.Conv2d))

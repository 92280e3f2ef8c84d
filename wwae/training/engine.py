"""A whole run: every network of every round, its files, and the summary."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from wwae.training.configuration import TrainingConfiguration
from wwae.training.dataset import TrainingData, derive_seed
from wwae.training.evaluation import classification_error, reconstruct, reconstruction_l2
from wwae.training.figures import draw_curves, reconstruction_gallery
from wwae.training.loop import restore, run_fit
from wwae.training.networks import Network
from wwae.training.run_directory import RunDirectory
from wwae.training.session import logger, logging_to, make_summary, open_directory, reproducible, resolve_device
from wwae.training.swwae_fit import SwwaeFit
from wwae.training.tensorboard import EventWriter

__all__ = ["LoadData", "resolve_device", "train"]

LoadData = Callable[[int], TrainingData]
"""Draws the labelled set with the given seed and returns the data of one round."""

GALLERY_IMAGES = 8


def train(configuration: TrainingConfiguration, load_data: LoadData, command: str = "") -> dict[str, Any]:
    """Run a configuration to its end, or continue it when ``configuration.resume`` is set, and return its summary.

    For each round, ``load_data`` draws a labelled set; the network is trained on it, and beside it, in semi-supervised
    mode with ``configuration.baseline``, the convnet of the same configuration. ``summary.json`` holds the means over
    the rounds and, with several rounds, their standard deviations.

    Everything that can be refused is refused before a file is written. A run that is killed continues with ``resume``
    from its last checkpoint, and ends with the same numbers as one that was not.

    Args:
        configuration (TrainingConfiguration): the settings; ``run.dir`` must be set.
        load_data (Callable[[int], TrainingData]): draws the labelled set with the given seed, in [0, 2**32).
        command (str): the command that started the run, for the summary.

    Raises:
        ConfigurationError: a setting is not possible with these data, on this machine, or in a run that is resumed.
        RunDirectoryError: ``run.dir`` cannot take the run, or holds none to resume.
        CheckpointError: a checkpoint to resume from is damaged.
        TrainingDiverged: the loss is not finite any more; the checkpoints before that stay.
    """
    device = resolve_device(configuration.device)
    directory = open_directory(configuration)
    data = _load_round(configuration, load_data, round_number=1)
    # Building a fit checks the model against the data.
    steps_per_epoch = SwwaeFit("swwae", 1, configuration, data, device).steps_per_epoch
    if not configuration.resume:
        directory = RunDirectory.create(directory.path, configuration)

    networks: list[Network] = ["swwae"]
    if configuration.baseline and configuration.loss.mode == "semi-supervised":
        networks.append("convnet")
    results: dict[Network, list[dict[str, float]]] = {network: [] for network in networks}
    seconds = 0.0
    with reproducible(), logging_to(directory), EventWriter(directory, configuration.run.tensorboard) as events:
        logger.info(
            "%s: %s on %s, %d labelled + %d unlabelled + %d test images, %d epochs of %d steps, in %s",
            "continue" if configuration.resume else "start",
            configuration.recipe,
            device,
            len(data.labelled.images),
            len(data.unlabelled),
            len(data.test.images),
            configuration.epochs,
            steps_per_epoch,
            directory.path,
        )
        for round_number in range(1, configuration.rounds + 1):
            if round_number > 1:
                data = _load_round(configuration, load_data, round_number)
            for network in networks:
                fit = SwwaeFit(network, round_number, configuration, data, device)
                results[network].append(_run_round(fit, configuration, data, directory, events))
                seconds += fit.seconds
                if network == "swwae" and round_number == 1:
                    images = data.test.images[:GALLERY_IMAGES]
                    reconstruction_gallery(images, reconstruct(fit.model, images), directory.figures / "reconstructions.png")
        draw_curves(directory.read_metrics(), configuration.loss.form, directory.figures / "curves.png")
        metrics = _metrics_over_rounds(results)
        rounds = [dict(zip(networks, each, strict=True)) for each in zip(*results.values(), strict=True)]
        summary = make_summary(configuration, command, device, seconds, metrics, rounds=rounds)
        directory.write_summary(summary)
        for name, value in metrics.items():
            logger.info("%s %.4g", name, value)
    return summary


def _load_round(configuration: TrainingConfiguration, load_data: LoadData, round_number: int) -> TrainingData:
    return load_data(derive_seed(configuration.seed, "labelled set", round_number))


def _run_round(
    fit: SwwaeFit,
    configuration: TrainingConfiguration,
    data: TrainingData,
    directory: RunDirectory,
    events: EventWriter,
) -> dict[str, float]:
    """Train one network from its checkpoint, if there is one, to its end and return its final metrics."""
    path = directory.checkpoint(fit.round_number, fit.network)
    metrics = restore(fit, path)
    if metrics is not None:
        return metrics
    directory.drop_metrics_after(fit.round_number, fit.network, fit.step)
    return run_fit(
        fit,
        path,
        configuration.run,
        directory,
        events,
        measure=lambda: _errors(fit, data),
        finish=lambda errors: _final_metrics(fit, data, errors),
        title=f"{fit.network} {fit.round_number}/{configuration.rounds}",
    )


def _errors(fit: SwwaeFit, data: TrainingData) -> dict[str, float]:
    if fit.loss.mode == "unsupervised":
        return {}
    errors = {"test_error_percent": classification_error(fit.model, data.test)}
    if data.validation is not None:
        errors["validation_error_percent"] = classification_error(fit.model, data.validation)
    return errors


def _final_metrics(fit: SwwaeFit, data: TrainingData, errors: dict[str, float]) -> dict[str, float]:
    metrics = {name.removesuffix("_percent"): value for name, value in errors.items()}
    if fit.loss.mode != "supervised":
        metrics["reconstruction_l2"] = reconstruction_l2(fit.model, data.test.images)
    return metrics


def _metrics_over_rounds(results: dict[Network, list[dict[str, float]]]) -> dict[str, float]:
    """Return each metric's mean over the rounds and, where there are several, its sample standard deviation."""
    metrics = {}
    for network, rounds in results.items():
        prefix = "baseline_" if network == "convnet" else ""
        for name in rounds[0]:
            values = [each[name] for each in rounds]
            metrics[prefix + name] = statistics.fmean(values)
            if len(values) > 1:
                metrics[f"{prefix}{name}_std"] = statistics.stdev(values)
    return metrics

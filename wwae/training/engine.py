"""A whole run: every network of every round, its files, and the summary."""

from __future__ import annotations

import logging
import platform
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

import wwae
from wwae.training.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from wwae.training.configuration import ConfigurationError, TrainingConfiguration
from wwae.training.dataset import TrainingData, derive_seed
from wwae.training.evaluation import classification_error, reconstruct, reconstruction_l2
from wwae.training.figures import draw_curves, reconstruction_gallery
from wwae.training.fit import Fit
from wwae.training.networks import Network
from wwae.training.run_directory import RunDirectory
from wwae.training.tensorboard import EventWriter

__all__ = ["LoadData", "resolve_device", "train"]

LoadData = Callable[[int], TrainingData]
"""Draws the labelled set with the given seed and returns the data of one round."""

GALLERY_IMAGES = 8

logger = logging.getLogger("wwae")


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
    if configuration.run.dir is None:
        raise ConfigurationError("run.dir: expected a directory, got none")
    device = resolve_device(configuration.device)
    if configuration.resume:
        directory = RunDirectory.open(configuration.run.dir)
        _check_same_run(configuration, directory.read_configuration())
    else:
        RunDirectory.check_new(configuration.run.dir)
    data = _load_round(configuration, load_data, round_number=1)
    # Building a fit checks the model against the data.
    steps_per_epoch = Fit("swwae", 1, configuration, data, device).steps_per_epoch
    if not configuration.resume:
        directory = RunDirectory.create(configuration.run.dir, configuration)

    networks: list[Network] = ["swwae"]
    if configuration.baseline and configuration.loss.mode == "semi-supervised":
        networks.append("convnet")
    results: dict[Network, list[dict[str, float]]] = {network: [] for network in networks}
    seconds = 0.0
    with _reproducible(), _logging_to(directory), EventWriter(directory, configuration.run.tensorboard) as events:
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
                fit = Fit(network, round_number, configuration, data, device)
                results[network].append(_run_fit(fit, configuration, data, directory, events))
                seconds += fit.seconds
                if network == "swwae" and round_number == 1:
                    images = data.test.images[:GALLERY_IMAGES]
                    reconstruction_gallery(images, reconstruct(fit.model, images), directory.figures / "reconstructions.png")
        draw_curves(directory.read_metrics(), configuration.loss.form, directory.figures / "curves.png")
        metrics = _metrics_over_rounds(results)
        summary = {
            "recipe": configuration.recipe,
            "command": command,
            "seed": configuration.seed,
            "epochs": configuration.epochs,
            "seconds": round(seconds, 3),
            "device": _device_name(device),
            "metrics": metrics,
            "rounds": [dict(zip(networks, each, strict=True)) for each in zip(*results.values(), strict=True)],
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "wwae": wwae.__version__},
        }
        directory.write_summary(summary)
        for name, value in metrics.items():
            logger.info("%s %.4g", name, value)
    return summary


def resolve_device(name: str) -> torch.device:
    """Return the device of the ``device`` setting.

    Raises:
        ConfigurationError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigurationError(f"device: expected one of the {torch.cuda.device_count()} GPUs here, cpu or auto, got {name!r}")
    return device


def _load_round(configuration: TrainingConfiguration, load_data: LoadData, round_number: int) -> TrainingData:
    return load_data(derive_seed(configuration.seed, "labelled set", round_number))


def _run_fit(
    fit: Fit,
    configuration: TrainingConfiguration,
    data: TrainingData,
    directory: RunDirectory,
    events: EventWriter,
) -> dict[str, float]:
    """Train one network from its checkpoint, if there is one, to its end and return its final metrics."""
    path = directory.checkpoint(fit.round_number, fit.network)
    if path.exists():
        state = load_checkpoint(path)
        try:
            fit.restore(state)
            metrics = state["metrics"]
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            raise CheckpointError(f"{path}: does not belong to this run: {str(error).splitlines()[0]}") from None
        if metrics is not None:
            return metrics
        logger.info("%s, round %d: continue from step %d", fit.network, fit.round_number, fit.step)
    directory.drop_metrics_after(fit.round_number, fit.network, fit.step)

    run = configuration.run
    title = f"{fit.network} {fit.round_number}/{configuration.rounds}"
    metrics = None
    # The bar is drawn on a terminal only; elsewhere the lines of the log show how far the run is.
    with tqdm(total=fit.steps, initial=fit.step, desc=title, unit="step", disable=None, mininterval=0.5) as bar:
        while fit.step < fit.steps:
            fit.advance()
            bar.update()
            epoch, into_epoch = divmod(fit.step, fit.steps_per_epoch)
            is_last = fit.step == fit.steps
            errors = {}
            if is_last or (into_epoch == 0 and epoch % run.evaluate_every == 0):
                errors = _errors(fit, data)
            if errors or is_last or fit.step % run.log_every == 0:
                row = fit.take_averages() | errors
                directory.append_metrics(row)
                events.write(row)
                bar.set_postfix_str(f"loss {row['loss']:.3g}, {row['images_per_second']:.0f} images/s")
                if errors:
                    logger.info("%s: epoch %d/%d, %s", title, epoch, configuration.epochs, _describe(row))
            if is_last:
                metrics = _final_metrics(fit, data, errors)
            if is_last or fit.step % run.checkpoint_every == 0:
                save_checkpoint(path, fit.state() | {"metrics": metrics})
    return metrics


def _errors(fit: Fit, data: TrainingData) -> dict[str, float]:
    if fit.loss.mode == "unsupervised":
        return {}
    errors = {"test_error_percent": classification_error(fit.model, data.test)}
    if data.validation is not None:
        errors["validation_error_percent"] = classification_error(fit.model, data.validation)
    return errors


def _final_metrics(fit: Fit, data: TrainingData, errors: dict[str, float]) -> dict[str, float]:
    metrics = {name.removesuffix("_percent"): value for name, value in errors.items()}
    if fit.loss.mode != "supervised":
        metrics["reconstruction_l2"] = reconstruction_l2(fit.model, data.test.images)
    return metrics


def _describe(row: dict[str, Any]) -> str:
    words = [f"loss {row['loss']:.4g}"]
    for column, name in (("nll_nats", "nll"), ("reconstruction_loss", "rec"), ("middle_loss", "mid")):
        if row[column] is not None:
            words.append(f"{name} {row[column]:.4g}")
    for column, name in (("validation_error_percent", "validation"), ("test_error_percent", "test")):
        if column in row:
            words.append(f"{name} error {row[column]:.2f} %")
    words.append(f"{row['images_per_second']:.0f} images/s")
    return ", ".join(words)


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


def _check_same_run(wanted: TrainingConfiguration, stored: TrainingConfiguration) -> None:
    """Check that only settings which do not change the numbers differ from those the run was started with."""
    free: Any = {"resume": True, "device": True, "run": True, "data": {"root": True}}
    new, old = (c.model_dump(mode="json", exclude=free) for c in (wanted, stored))
    different = [
        f"{name}: expected {old_value!r} as the run to resume was started with, got {new_value!r}"
        for (name, old_value), (_, new_value) in zip(_flat(old), _flat(new), strict=True)
        if old_value != new_value
    ]
    if different:
        raise ConfigurationError("\n".join(different))


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'' if threads == 1 else 's'}"


@contextmanager
def _reproducible() -> Iterator[None]:
    """cuDNN restricted to algorithms that give the same bits on every run."""
    cudnn = torch.backends.cudnn
    with cudnn.flags(enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=cudnn.allow_tf32):
        yield


@contextmanager
def _logging_to(directory: RunDirectory) -> Iterator[None]:
    """Messages on standard error, above the progress bar, and with their times in ``log.txt``."""
    to_file = logging.FileHandler(directory.log, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    to_screen = logging.StreamHandler(sys.stderr)
    handlers = (to_file, to_screen)
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in handlers:
        logger.addHandler(handler)
    try:
        with logging_redirect_tqdm([logger]):
            yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
        to_file.close()
        logger.setLevel(level)
        logger.propagate = propagate

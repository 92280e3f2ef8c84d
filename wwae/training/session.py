"""What surrounds a run: its device, its messages, reproducible arithmetic, and the check of a run that is continued."""

from __future__ import annotations

import logging
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from tqdm.contrib.logging import logging_redirect_tqdm

import wwae
from wwae.training.configuration import Configuration, ConfigurationError
from wwae.training.run_directory import RunDirectory

__all__ = ["logger", "logging_to", "make_summary", "open_directory", "reproducible", "resolve_device"]

logger = logging.getLogger("wwae")


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


def open_directory(configuration: Configuration) -> RunDirectory:
    """Return the directory of a run: the one to resume, or a new one that is still to be created.

    Raises:
        ConfigurationError: ``run.dir`` is missing, or the run to resume had other settings.
        RunDirectoryError: ``run.dir`` cannot take the run, or holds none to resume.
    """
    if configuration.run.dir is None:
        raise ConfigurationError("run.dir: expected a directory, got none")
    if not configuration.resume:
        RunDirectory.check_new(configuration.run.dir)
        return RunDirectory(configuration.run.dir)
    directory = RunDirectory.open(configuration.run.dir)
    _check_same_run(configuration, directory.read_configuration())
    return directory


def _check_same_run(wanted: Configuration, stored: Configuration) -> None:
    """Check that only settings which do not change the numbers differ from those the run was started with.

    Raises:
        ConfigurationError: others differ; each is named.
    """
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


def make_summary(
    configuration: Configuration,
    command: str,
    device: torch.device,
    seconds: float,
    metrics: dict[str, float],
    **parts: Any,
) -> dict[str, Any]:
    """What every run writes into ``summary.json``; ``parts`` are those of its kind, such as ``stages``."""
    return {
        "recipe": configuration.recipe,
        "command": command,
        "seed": configuration.seed,
        "epochs": configuration.epochs,
        "seconds": round(seconds, 3),
        "device": _device_name(device),
        "metrics": metrics,
        **parts,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "wwae": wwae.__version__},
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'' if threads == 1 else 's'}"


@contextmanager
def reproducible() -> Iterator[None]:
    """cuDNN restricted to algorithms that give the same bits on every run."""
    cudnn = torch.backends.cudnn
    with cudnn.flags(enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=cudnn.allow_tf32):
        yield


@contextmanager
def logging_to(directory: RunDirectory) -> Iterator[None]:
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

"""Stages that runs have in common: the six variants of a network share a classifier, its control, and layer-wise decoders."""

from __future__ import annotations

from typing import Any

from wwae.training.checkpoints import load_checkpoint, write_atomically
from wwae.training.configuration import ConfigurationError
from wwae.training.run_directory import RunDirectory
from wwae.training.staged_configuration import StagedConfiguration

__all__ = ["find_shared", "take_stages"]

_CLASSIFIER: dict[str, Any] = {
    "seed": True,
    "precision": True,
    "data": True,
    "model": {"network": True, "dropout": True},
    "classifier": True,
}
_INITIAL = _CLASSIFIER | {"model": {"network": True, "dropout": True, "from_layer": True}}
_LAYERWISE = _INITIAL | {"model": {"network": True, "dropout": True, "from_layer": True, "switches": True}, "layerwise": True}

# The settings that the result of a stage depends on.
_SETTINGS = {
    "classifier": _CLASSIFIER,
    "initial": _INITIAL,
    "layerwise": _LAYERWISE,
    "control": _CLASSIFIER | {"joint": True, "epochs": True},
}


def find_shared(configuration: StagedConfiguration, source: RunDirectory) -> tuple[str, ...]:
    """Return the finished stages of another run for which all settings that they depend on are those of ``configuration``.

    Raises:
        ConfigurationError: ``source`` is no run in stages, or has no such stage.
        CheckpointError: a checkpoint of ``source`` is damaged.
    """
    other = source.read_configuration()
    if not isinstance(other, StagedConfiguration):
        raise ConfigurationError(f"start-from: expected a run in stages, got {source.path}")
    shared = tuple(
        stage
        for stage in _SETTINGS
        if _settings(configuration, stage) == _settings(other, stage)
        and source.stage_checkpoint(stage).exists()
        and load_checkpoint(source.stage_checkpoint(stage)).get("metrics") is not None
    )
    if not shared:
        raise ConfigurationError(f"start-from: {source.path} has no finished stage with the settings of this run")
    return shared


def take_stages(directory: RunDirectory, source: RunDirectory, shared: tuple[str, ...]) -> None:
    """Copy the checkpoints of some stages of ``source`` and their rows of ``metrics.csv`` into the directory of a new run."""
    for stage in shared:
        write_atomically(directory.stage_checkpoint(stage), source.stage_checkpoint(stage).read_bytes())
    for row in source.read_metrics():
        if row["network"].split("-")[0] in shared:
            directory.append_metrics(row)


def _settings(configuration: StagedConfiguration, stage: str) -> dict[str, Any]:
    values = configuration.model_dump(include=_SETTINGS[stage])
    values["data"].pop("root")
    return values

"""The rows of ``metrics.csv`` as TensorBoard events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wwae.training.configuration import ConfigurationError
from wwae.training.run_directory import RunDirectory

__all__ = ["EventWriter"]

_NOT_PLOTTED = ("round", "network", "step")


class EventWriter:
    """Writes rows to ``DIR/tensorboard/round-R-NETWORK``, a scalar for each column; does nothing when not ``enabled``.

    Raises:
        ConfigurationError: ``enabled`` without the tensorboard package.
    """

    def __init__(self, directory: RunDirectory, enabled: bool) -> None:
        self._directory = directory.tensorboard
        self._writers: dict[str, Any] = {}
        self._make = None
        if enabled:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ConfigurationError("run.tensorboard: needs the tensorboard package: pip install tensorboard") from None
            self._make = SummaryWriter

    def write(self, row: Mapping[str, Any]) -> None:
        """Add the values of a row of ``metrics.csv`` at its step; of a resumed run, later events are hidden."""
        if self._make is None:
            return
        name = f"round-{row['round']}-{row['network']}"
        if name not in self._writers:
            self._writers[name] = self._make(str(self._directory / name), purge_step=row["step"])
        for column, value in row.items():
            if column not in _NOT_PLOTTED and value is not None:
                self._writers[name].add_scalar(column, value, row["step"])

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()

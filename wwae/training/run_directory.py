"""The files of one run."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wwae.training.checkpoints import write_atomically
from wwae.training.configuration import Configuration, TrainingConfiguration, read_toml
from wwae.training.inversion_configuration import InversionConfiguration
from wwae.training.staged_configuration import StagedConfiguration

__all__ = ["METRICS_COLUMNS", "RunDirectory", "RunDirectoryError"]

METRICS_COLUMNS = (
    "round",
    "network",
    "epoch",
    "step",
    "seconds",
    "images_per_second",
    "learning_rate",
    "loss",
    "nll_nats",
    "reconstruction_loss",
    "middle_loss",
    "gradient_norm",
    "validation_error_percent",
    "test_error_percent",
)


class RunDirectoryError(ValueError):
    """A directory that cannot take a new run, or holds none to continue; the message names it."""


class RunDirectory:
    """Paths and files of a run.

    ======================  ===============================================================================
    ``config.toml``         all settings of the run
    ``metrics.csv``         losses and errors during training, one row for each ``run.log_every`` steps
    ``log.txt``             messages, with their times
    ``checkpoints/``        ``round-R-NETWORK.pt``: one file for each network of each round; ``STAGE.pt`` of a run in stages
    ``figures/``            ``curves.png``, ``reconstructions.png``
    ``summary.json``        the result, written when the run is complete
    ======================  ===============================================================================
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.toml"
        self.metrics = self.path / "metrics.csv"
        self.log = self.path / "log.txt"
        self.checkpoints = self.path / "checkpoints"
        self.figures = self.path / "figures"
        self.tensorboard = self.path / "tensorboard"
        self.summary = self.path / "summary.json"

    def checkpoint(self, round_number: int, network: str) -> Path:
        """Return the checkpoint file of a network (``swwae`` or ``convnet``) in a round, counted from 1."""
        return self.checkpoints / f"round-{round_number}-{network}.pt"

    def stage_checkpoint(self, stage: str) -> Path:
        """Return the checkpoint file of a stage, of a run in stages."""
        return self.checkpoints / f"{stage}.pt"

    @classmethod
    def check_new(cls, path: Path) -> None:
        """Check that a run can be written to ``path``, without writing anything.

        Raises:
            RunDirectoryError: ``path`` is not a directory, holds something already, or cannot be written to.
        """
        path = Path(path)
        if path.is_dir():
            if held := sorted(entry.name for entry in path.iterdir()):
                hint = ", or --resume to continue the run in it" if "config.toml" in held else ""
                raise RunDirectoryError(
                    f"run.dir: expected a directory that does not exist or is empty, got {path}, which holds "
                    f"{', '.join(held[:4])}{', ...' if len(held) > 4 else ''}; name another one{hint}"
                )
        elif path.exists() or path.is_symlink():
            raise RunDirectoryError(f"run.dir: expected a directory, got {path}, which is a file")
        # The run is prepared beside its place and renamed into it, so the parent is what must be writable.
        parent = next(p for p in path.absolute().parents if p.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            raise RunDirectoryError(f"run.dir: cannot write {path}: {parent} is not a directory one may write to")

    @classmethod
    def create(cls, path: Path, configuration: Configuration) -> RunDirectory:
        """Make the directory of a new run; it appears at ``path`` complete or not at all.

        Raises:
            RunDirectoryError: as :meth:`check_new`, or writing failed.
        """
        cls.check_new(path)
        path = Path(path).absolute()
        prepared = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            prepared = cls(Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.")))
            prepared.path.chmod(0o755)
            prepared.checkpoints.mkdir()
            prepared.figures.mkdir()
            prepared.config.write_text(configuration.to_toml(), encoding="utf-8")
            prepared.metrics.write_text(_csv([METRICS_COLUMNS]), encoding="utf-8")
            prepared.log.touch()
            os.rename(prepared.path, path)
        except OSError as error:
            if prepared is not None:
                shutil.rmtree(prepared.path, ignore_errors=True)
            raise RunDirectoryError(f"run.dir: cannot write {path}: {error.strerror}") from None
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Return the directory of an existing run.

        Raises:
            RunDirectoryError: there is no run in ``path``.
        """
        directory = cls(Path(path))
        for needed in (directory.config, directory.metrics, directory.checkpoints):
            if not needed.exists():
                raise RunDirectoryError(f"run.dir: expected the directory of a run, got {path}, which has no {needed.name}")
        return directory

    def read_configuration(self) -> TrainingConfiguration | StagedConfiguration | InversionConfiguration:
        """Return the settings of the run: those in stages have a section for the joint one, those of an inversion for its decoder.

        Raises:
            ConfigurationError: ``config.toml`` is damaged.
        """
        sections = read_toml(self.config)
        if "joint" in sections:
            return StagedConfiguration.from_toml(self.config)
        if "decoder" in sections:
            return InversionConfiguration.from_toml(self.config)
        return TrainingConfiguration.from_toml(self.config)

    def read_metrics(self) -> list[dict[str, str]]:
        """Return the rows of ``metrics.csv`` as text by column; an empty text is a value that was not measured.

        Raises:
            RunDirectoryError: the file's header is not that of a run.
        """
        with self.metrics.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != METRICS_COLUMNS:
                raise RunDirectoryError(f"{self.metrics}: expected the header {','.join(METRICS_COLUMNS)}")
            return list(reader)

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Add a row; columns that ``row`` lacks stay empty, and floats keep all their digits."""
        unknown = set(row) - set(METRICS_COLUMNS)
        if unknown:
            raise ValueError(f"append_metrics: expected columns of metrics.csv, got {', '.join(sorted(unknown))}")
        with self.metrics.open("a", newline="", encoding="utf-8") as file:
            file.write(_csv([[row.get(column) for column in METRICS_COLUMNS]]))

    def drop_metrics_after(self, round_number: int, network: str, step: int) -> None:
        """Drop the rows that a network wrote after ``step``, and one that was cut off while it was written."""

        def is_kept(row: dict[str, str]) -> bool:
            # A row that was cut off lacks its last columns: DictReader gives None for them.
            if None in row.values():
                return False
            return (row["round"], row["network"]) != (str(round_number), network) or int(row["step"]) <= step

        rows = self.read_metrics()
        kept = [row for row in rows if is_kept(row)]
        if len(kept) < len(rows):
            write_atomically(self.metrics, _csv([METRICS_COLUMNS, *(row.values() for row in kept)]))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``."""
        write_atomically(self.summary, json.dumps(summary, indent=2) + "\n")


def _csv(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()

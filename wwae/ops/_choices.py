"""What was measured to be the fastest implementation of a call, remembered on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

logger = logging.getLogger("wwae")


@dataclass(frozen=True)
class Choice:
    """The implementation that a call gets, and why.

    Attributes:
        implementation (str): its name.
        microseconds (dict[str, float]): what a call took, for each implementation that ran.
        refusals (dict[str, str]): what each of the others said.
    """

    implementation: str
    microseconds: dict[str, float]
    refusals: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        times = sorted(self.microseconds.items(), key=lambda item: item[1])
        parts = [f"{name} {time:.1f} us" for name, time in times] + [f"no {name} ({why})" for name, why in self.refusals.items()]
        return f"{self.implementation}: {', '.join(parts)}"


def cache_directory() -> Path:
    """``WWAE_CACHE_DIR``, or the platform's place for what can be made again."""
    given = os.environ.get("WWAE_CACHE_DIR")
    if given:
        return Path(given).expanduser()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "wwae" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "wwae"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wwae"


class Choices:
    """Choices by call, of one environment (GPU and versions), in a file of their own.

    The file is read once and replaced as a whole by every new choice, with what other processes have added since. One that is
    damaged, or can't be written, is worth a warning and no more: choices then last as long as the process.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        digest = hashlib.sha256(json.dumps(self.environment, sort_keys=True).encode()).hexdigest()[:16]
        self.path = directory / f"choices-{digest}.json"
        self._choices: dict[str, Choice] = self._read()

    def __getitem__(self, call: str) -> Choice | None:
        return self._choices.get(call)

    def __iter__(self) -> Any:
        return iter(sorted(self._choices.items()))

    def remember(self, call: str, choice: Choice) -> None:
        self._choices[call] = choice
        self._choices = self._read() | self._choices
        content = {"environment": self.environment, "choices": {name: asdict(made) for name, made in self}}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Beside the file, and in its place by one rename: a reader sees the old file or the new one.
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name, suffix=".new")
            try:
                with open(handle, "w") as file:
                    json.dump(content, file, indent=1)
                os.replace(name, self.path)
            except BaseException:
                os.unlink(name)
                raise
        except OSError as error:
            _warn_once(self.path, f"wwae: measured choices are not kept for the next run: {error}")

    def _read(self) -> dict[str, Choice]:
        try:
            entries = json.loads(self.path.read_text())["choices"]
            return {str(call): _checked(**entry) for call, entry in entries.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            _warn_once(self.path, f"wwae: {self.path} is ignored, and its choices measured again: {error!r}")
            return {}


_warned: set[Path] = set()


def _warn_once(path: Path, message: str) -> None:
    if path not in _warned:
        _warned.add(path)
        logger.warning(message)


def _checked(implementation: Any, microseconds: Any, refusals: Any) -> Choice:
    """A choice from a file, which may hold anything."""
    times = {str(name): float(time) for name, time in microseconds.items()}
    if implementation not in times:
        raise ValueError(f"no time for {implementation!r}")
    return Choice(implementation, times, {str(name): str(why) for name, why in refusals.items()})

"""Entry point: finds the command, runs it, and turns every expected failure into a message and an exit status."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import wwae
from wwae.cli.parser import UsageError, unknown

__all__ = ["main"]

COMMANDS = {
    "train": "train a recipe; without a name, the built-in digits",
    "evaluate": "measure the networks of a run again on the test images",
    "reconstruct": "draw images beside what a run's network makes of them",
    "report": "put runs beside the numbers of their papers",
    "recipes": "list the recipes, with the number of the paper each aims at",
    "models": "list the augmented classifiers, or show the macro-layers of one as a table",
    "info": "show which implementations of the operations run here, and why the others do not",
}

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ``wwae`` command.

    Args:
        arguments (Sequence[str] | None): the words after ``wwae``; None takes those of the process.

    Returns:
        0 done; 2 a wrong option or configuration; 130 interrupted; 1 anything else.
    """
    try:
        status = _dispatch(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still writes at its end
        return FAILED


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_usage())
        return DONE if words else WRONG_USE
    if words[0] == "--version":
        print(f"wwae {wwae.__version__}")
        return DONE
    name, *rest = words
    if name not in COMMANDS:
        kind = "option" if name.startswith("-") else "command"
        known = ["--help", "--version"] if kind == "option" else COMMANDS
        return _complain("wwae", unknown(kind, name, known), WRONG_USE)
    try:
        command = importlib.import_module(f"wwae.cli.{name}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "wwae":
            raise
        return _complain(f"wwae {name}", f"needs the package {error.name!r}: pip install 'wwae[train]' brings it", FAILED)
    return _run(command, name, rest)


def _run(command: object, name: str, arguments: list[str]) -> int:
    try:
        command.run(arguments)  # type: ignore[attr-defined]
    except SystemExit as finished:  # argparse has shown the help
        return int(finished.code or 0)
    except KeyboardInterrupt as interrupt:
        print(f"\nwwae {name}: interrupted" + (f"; {interrupt}" if str(interrupt) else ""), file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        status = _status_of(error)
        if status is None:
            raise
        return _complain(f"wwae {name}", str(error), status)
    return DONE


def _status_of(error: Exception) -> int | None:
    """The exit status of a failure that is no defect of this program; None for any other, which keeps its traceback."""
    if isinstance(error, UsageError):
        return WRONG_USE
    from wwae.data import DataError
    from wwae.models import WeightsError
    from wwae.training import CheckpointError, ConfigurationError, RunDirectoryError, TrainingDiverged, TrainingStopped

    if isinstance(error, (ConfigurationError, RunDirectoryError)):
        return WRONG_USE
    if isinstance(error, (DataError, WeightsError, CheckpointError, TrainingDiverged, TrainingStopped, OSError)):
        return FAILED
    return None


def _complain(program: str, message: str, status: int) -> int:
    print(f"{program}: error: {message}", file=sys.stderr)
    if status == WRONG_USE:
        print(f"Try '{program} --help'.", file=sys.stderr)
    return status


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: wwae COMMAND [ARGUMENTS]",
            "",
            "Switch pooling for PyTorch, and the networks built on it.",
            "",
            "commands:",
            *lines,
            "",
            "'wwae COMMAND --help' explains a command; 'wwae --version' shows the version.",
            "Exit status: 0 done; 2 a wrong option or configuration; 130 interrupted; 1 anything else.",
        ]
    )

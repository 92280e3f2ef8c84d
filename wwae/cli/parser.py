"""Parsing of command lines: a mistake becomes an exception that names the nearest known option."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import NoReturn

__all__ = ["CommandParser", "UsageError", "unknown"]


class UsageError(Exception):
    """A command line that cannot be understood; the message says what is wrong with it."""


class CommandParser(argparse.ArgumentParser):
    """An argument parser without abbreviations that raises :class:`UsageError` instead of ending the process."""

    def __init__(self, command: str, description: str, add_help: bool = True) -> None:
        super().__init__(
            prog=f"wwae {command}",
            description=description,
            add_help=add_help,
            allow_abbrev=False,
            formatter_class=_HelpFormatter,
        )

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse the words after the command's name.

        Raises:
            UsageError: an option or argument is unknown or lacks its value.
        """
        namespace, surplus = self.parse_known_args(arguments)
        if surplus:
            words = [word for word in surplus if word.startswith("-")] or surplus
            option = words[0].partition("=")[0]
            if option.startswith("-"):
                raise UsageError(unknown("option", option, self._option_string_actions))
            raise UsageError(f"unexpected argument {option!r}")
        return namespace

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for an unknown ``name``, with the nearest of the ``known`` ones, or all where none is near."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if not near:
        # --batch_norm for --model.batch_norm: the same last part of a dotted name.
        near = [option for option in known if option.rpartition(".")[2] == name.lstrip("-").rpartition(".")[2]]
    if near:
        return f"unknown {kind} {name!r}, did you mean {near[0]!r}?"
    return f"unknown {kind} {name!r}" + (f", known are {', '.join(known)}" if kind != "option" else "")

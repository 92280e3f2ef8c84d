"""``wwae info``: what runs here."""

from __future__ import annotations

from collections.abc import Sequence

import wwae
from wwae.cli.parser import CommandParser

__all__ = ["run"]

DESCRIPTION = "Show which implementations of the operations run here, which are chosen, and why the others are not."


def run(arguments: Sequence[str]) -> None:
    """Run the command on the words after ``wwae info``."""
    CommandParser("info", DESCRIPTION).parse(arguments)
    wwae.show_backends()

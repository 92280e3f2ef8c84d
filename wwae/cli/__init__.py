"""The ``wwae`` command."""

from wwae.cli.command import main

__all__ = ["main"]

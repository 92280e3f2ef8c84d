"""The result of an inversion in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from wwae.models.augment import SwitchSource
from wwae.training import InversionConfiguration, RunDirectory

__all__ = ["INVERSION_HEADER", "describe_inversion", "inversion_rows"]

_SOURCES = get_args(SwitchSource)

INVERSION_HEADER = ("run", "network", "epochs", "seed", "from", *_SOURCES)
"""Of the table that ``wwae report`` prints of :func:`inversion_rows`."""


def describe_inversion(summary: Mapping[str, Any], directory: RunDirectory) -> str:
    """The last lines of ``wwae train`` for an inversion: PSNR for each layer and source of switches."""
    metrics = summary["metrics"]
    minutes, seconds = divmod(round(summary["seconds"]), 60)
    lines = [
        f"\n{summary['recipe']}, {minutes} min {seconds} s of training; PSNR of the pictures that were not learnt from, in dB",
        f"  {'from':<8}" + "".join(f"{source:>10}" for source in _SOURCES),
    ]
    for layer, values in _decibels(metrics):
        lines.append(f"  {layer:<8}" + "".join(f"{value:>10.2f}" for value in values))
    lines += [
        f"  a picture's mean colour alone: {metrics['psnr_mean_colour']:.2f} dB",
        f"\npictures  {directory.figures}/reconstructions.png",
        f"run       {directory.path}",
    ]
    return "\n".join(lines)


def inversion_rows(name: str, configuration: InversionConfiguration, summary: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row for each layer of a finished run: its PSNR in dB for each source of switches."""
    run = (name, configuration.model.network, str(configuration.epochs), str(configuration.seed))
    return [(*run, layer, *(f"{value:.2f}" for value in values)) for layer, values in _decibels(summary["metrics"])]


def _decibels(metrics: Mapping[str, float]) -> Iterator[tuple[str, list[float]]]:
    """Each layer, the nearest to the images first, with its PSNR for each source of switches."""
    for layer in (name.removeprefix("psnr_known_") for name in metrics if name.startswith("psnr_known_")):
        yield layer, [metrics[f"psnr_{source}_{layer}"] for source in _SOURCES]

"""The result of an inversion in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from wwae.models.augment import SwitchSource
from wwae.training import RunDirectory

__all__ = ["describe_inversion"]


def describe_inversion(summary: Mapping[str, Any], directory: RunDirectory) -> str:
    """The last lines of ``wwae train`` for an inversion: PSNR for each layer and source of switches."""
    metrics, sources = summary["metrics"], get_args(SwitchSource)
    minutes, seconds = divmod(round(summary["seconds"]), 60)
    layers = [name.removeprefix("psnr_known_") for name in metrics if name.startswith("psnr_known_")]
    lines = [
        f"\n{summary['recipe']}, {minutes} min {seconds} s of training; PSNR of the pictures that were not learnt from, in dB",
        f"  {'from':<8}" + "".join(f"{source:>10}" for source in sources),
    ]
    for layer in layers:
        lines.append(f"  {layer:<8}" + "".join(f"{metrics[f'psnr_{source}_{layer}']:>10.2f}" for source in sources))
    lines += [
        f"  a picture's mean colour alone: {metrics['psnr_mean_colour']:.2f} dB",
        f"\npictures  {directory.figures}/reconstructions.png",
        f"run       {directory.path}",
    ]
    return "\n".join(lines)

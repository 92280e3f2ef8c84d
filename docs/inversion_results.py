"""The tables of runs that invert a classifier, for ``make_results.py``."""

from __future__ import annotations

from typing import Any

from wwae.recipes import find_recipe

__all__ = ["inversion_section", "is_inversion"]

_TITLES = {
    "known": "known switches",
    "fixed": "fixed switches",
    "shuffled": "another image's switches",
    "zeroed": "first tap of every window",
}


def is_inversion(result: dict[str, Any]) -> bool:
    """Whether a recorded run inverted a classifier."""
    return "decoder" in result["configuration"]


def inversion_section(recipe: str, results: list[dict[str, Any]]) -> str:
    """PSNR for each layer and source of switches, one table for each run."""
    lines = [f"## {recipe}", "", find_recipe(recipe).summary + ".", ""]
    for result in results:
        summary, settings = result["summary"], result["configuration"]
        metrics = summary["metrics"]
        layers = [name.removeprefix("psnr_known_") for name in metrics if name.startswith("psnr_known_")]
        header = (f"PSNR from, dB ({settings['epochs']} epochs, seed {settings['seed']})", *_TITLES.values())
        rows = [header, ("---",) * len(header)]
        rows += [(layer, *(f"{metrics[f'psnr_{source}_{layer}']:.2f}" for source in _TITLES)) for layer in layers]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        lines += [
            "",
            f"Each picture's mean colour alone gives {metrics['psnr_mean_colour']:.2f} dB.",
            "",
            f"- `{summary['command']}`: {summary['seconds'] / 60:.0f} minutes of training on {summary['device']}, "
            f"PyTorch {summary['versions']['torch']}",
            "",
        ]
    return "\n".join(lines)

"""Draw ``docs/figures/switches.png``: one map, pooled and unpooled by the operations themselves."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import wwae

FIGURES = Path(__file__).parent / "figures"

# One colour a window, from the colour-blind-safe palette of Okabe and Ito, in raster order.
COLORS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7")
MAP = torch.tensor([[[[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 1.0, 7.0], [6.0, 0.0, 3.0, 2.0], [2.0, 1.0, 8.0, 5.0]]]])


def draw_map(axes: Axes, left: float, numbers: torch.Tensor, title: str, window: int, marked: torch.Tensor) -> None:
    """A map as a grid of numbers, centred in height; cells of one window share a colour, strong where marked."""
    height, width = numbers.shape
    top = (4 - height) / 2
    for row in range(height):
        for column in range(width):
            strong = bool(marked[row, column])
            color = COLORS[row // window * 2 + column // window]
            corner = (left + column, top + row)
            axes.add_patch(Rectangle(corner, 1, 1, facecolor=color, alpha=0.85 if strong else 0.18, edgecolor="none"))
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="white", linewidth=2))
            number = f"{numbers[row, column].item():g}"
            axes.text(corner[0] + 0.5, corner[1] + 0.54, number, ha="center", va="center", fontsize=14, alpha=1 if strong else 0.45)
    axes.text(left + width / 2, top - 0.2, title, ha="center", va="bottom", fontsize=10)


def draw_arrow(axes: Axes, left: float, right: float, text: str) -> None:
    """An operation, from one map to the next."""
    axes.annotate("", (right, 2), (left, 2), arrowprops={"arrowstyle": "-|>", "color": "0.3", "linewidth": 1.5})
    axes.text((left + right) / 2, 1.8, text, ha="center", va="bottom", fontsize=9, family="monospace")


def main() -> None:
    """Draw the figure."""
    values, switches = wwae.ops.switch_pool2d(MAP, 2)
    unpooled = wwae.ops.switch_unpool2d(values, switches)
    maxima = unpooled[0, 0] != 0
    everywhere = torch.ones(2, 2, dtype=torch.bool)
    figure = Figure(figsize=(10, 2.5))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.3, 21.3), ylim=(4.3, -1.1), aspect="equal")
    axes.axis("off")
    draw_map(axes, 0, MAP[0, 0], "x", 2, maxima)
    draw_arrow(axes, 4.3, 7.4, "switch_pool2d")
    draw_map(axes, 7.7, values[0, 0], "values: what", 1, everywhere)
    draw_map(axes, 10.7, switches.offsets[0, 0], "switches: where", 1, everywhere)
    draw_arrow(axes, 13.0, 16.7, "switch_unpool2d")
    draw_map(axes, 17, unpooled[0, 0], "the values back in their places", 2, maxima)
    FIGURES.mkdir(exist_ok=True)
    # Without the version of matplotlib in it, the file changes only when the drawing does.
    figure.savefig(FIGURES / "switches.png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()

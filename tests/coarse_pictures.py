"""Pictures for tests of an inversion: ten smooth ones, always the same."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_pictures(folder: Path, size: tuple[int, int]) -> None:
    """Write ``0.png`` to ``9.png``, of that width and height, into a new folder."""
    pixels = np.random.default_rng(0)
    folder.mkdir()
    for number in range(10):
        coarse = Image.fromarray(pixels.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BILINEAR).save(folder / f"{number}.png")

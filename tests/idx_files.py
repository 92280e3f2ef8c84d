"""Small idx data sets made from generated arrays, for tests of the reader, the recipes and the command line."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np


def idx_bytes(array: np.ndarray) -> bytes:
    """The idx form of an array of unsigned bytes."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_data_set(
    root: Path, train: int = 60, test: int = 20, size: int = 28, classes: int = 10, packed: bool = True, seed: int = 0
) -> dict[str, np.ndarray]:
    """Write the four files of a made-up data set, classes in turn, and return the arrays by file stem.

    The image of class c is noise with one bright row at 2 c, so that a network can learn it.
    """
    root.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    arrays = {}
    for prefix, count in (("train", train), ("t10k", test)):
        labels = (np.arange(count) % classes).astype(np.uint8)
        images = generator.integers(0, 100, (count, size, size), dtype=np.uint8)
        images[np.arange(count), 2 * labels % size] = 255
        arrays[f"{prefix}-images-idx3-ubyte"] = images
        arrays[f"{prefix}-labels-idx1-ubyte"] = labels
    for stem, array in arrays.items():
        if packed:
            (root / f"{stem}.gz").write_bytes(gzip.compress(idx_bytes(array), compresslevel=1))
        else:
            (root / stem).write_bytes(idx_bytes(array))
    return arrays

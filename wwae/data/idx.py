"""Reader of the idx format, in which MNIST and Fashion-MNIST are published.

An idx file is two zero bytes, a type code (8: unsigned byte), the number of dimensions, one big-endian 32-bit size per
dimension, and the values in row-major order; see the data set's page, http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wwae.data.images import DataError, ImageData
from wwae.training.configuration import ConfigurationError
from wwae.training.dataset import Split

__all__ = ["FASHION_MNIST", "MNIST", "IdxSource", "load_idx", "read_idx"]

_UNSIGNED_BYTE = 8


@dataclass(frozen=True)
class IdxSource:
    """A data set published as four idx files: its ``name`` and in words where to get the files."""

    name: str
    where_to_get: str
    classes: int = 10


MNIST = IdxSource(
    name="mnist",
    where_to_get="the MNIST page, http://yann.lecun.com/exdb/mnist/, or "
    "python -c \"from torchvision.datasets import MNIST; MNIST('data', download=True)\", "
    "which puts them into data/MNIST/raw",
)
FASHION_MNIST = IdxSource(
    name="fashion-mnist",
    where_to_get="the Fashion-MNIST page, https://github.com/zalandoresearch/fashion-mnist, or "
    "python -c \"from torchvision.datasets import FashionMNIST; FashionMNIST('data', download=True)\", "
    "which puts them into data/FashionMNIST/raw",
)

_STEMS = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def load_idx(source: IdxSource, root: Path | str, image_size: int = 32) -> ImageData:
    """Read a data set from its four idx files, each as ``NAME.gz`` or unpacked as ``NAME``, in the folder ``root``.

    Args:
        source (IdxSource): which data set; used in messages and for the number of classes.
        root (Path | str): the folder that holds the four files.
        image_size (int): height and width after padding with zeros, the image in the middle; default 32, at least the
            images' own size (28).

    Returns:
        ImageData: one channel, uint8 from 0 to 255; training divides by 255 batch by batch, which keeps a quarter of
        the memory.

    Raises:
        DataError: a file is missing, truncated or corrupt, the counts of images and labels differ, or a label is no
            class. The message names the file.
        ConfigurationError: ``image_size`` is below the images' own size.
    """
    root = Path(root)
    paths = _find_files(source, root)
    train, test = (_load_part(*paths[part], source.classes, image_size) for part in ("train", "test"))
    return ImageData(name=source.name, train=train, test=test, classes=source.classes)


def read_idx(path: Path | str) -> np.ndarray:
    """Read one idx file of unsigned bytes; a name that ends in ``.gz`` is unpacked on the way.

    Returns:
        ndarray[…], uint8: read-only, as many dimensions as the file states.

    Raises:
        DataError: the file cannot be read, is damaged, is no idx file, holds another type, or is longer or shorter than
            its header says.
    """
    path = Path(path)
    content = _read_bytes(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(f"{path}: expected an idx file, which starts with two zero bytes, got {content[:4].hex(' ')!r}")
    type_code, dimensions = content[2], content[3]
    if type_code != _UNSIGNED_BYTE:
        raise DataError(f"{path}: expected idx type code 8 (unsigned byte), got {type_code}")
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError(f"{path}: truncated: expected a header of {header} bytes, got a file of {len(content)}")
    shape = tuple(int(size) for size in np.frombuffer(content, dtype=">u4", count=dimensions, offset=4))
    expected = header + math.prod(shape)
    if len(content) != expected:
        fault = "truncated" if len(content) < expected else "longer than its header says"
        raise DataError(f"{path}: {fault}: expected {expected} bytes for shape {shape}, got {len(content)}")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except EOFError as error:
        raise DataError(f"{path}: truncated: the compressed data ends too early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _find_files(source: IdxSource, root: Path) -> dict[str, tuple[Path, Path]]:
    """The path of every file, packed or unpacked; an error lists all that are missing at once."""
    found: dict[str, Path] = {}
    missing = []
    for stem in (stem for pair in _STEMS.values() for stem in pair):
        path = next((path for path in (root / f"{stem}.gz", root / stem) if path.is_file()), None)
        if path is None:
            missing.append(f"  {root / stem}.gz (or the same without .gz)")
        else:
            found[stem] = path
    if missing:
        what = "no such folder" if not root.is_dir() else f"{len(missing)} of 4 files missing"
        raise DataError(
            f"{source.name}: {what}: {root}\nlooked for\n" + "\n".join(missing) + f"\nGet them from {source.where_to_get}."
        )
    return {part: (found[images], found[labels]) for part, (images, labels) in _STEMS.items()}


def _load_part(images_path: Path, labels_path: Path, classes: int, image_size: int) -> Split:
    pixels, labels = read_idx(images_path), read_idx(labels_path)
    if pixels.ndim != 3:
        raise DataError(f"{images_path}: expected images of shape (N, H, W), got shape {pixels.shape}")
    if labels.ndim != 1:
        raise DataError(f"{labels_path}: expected labels of shape (N,), got shape {labels.shape}")
    if len(pixels) != len(labels):
        raise DataError(
            f"{labels_path}: expected one label for each of the {len(pixels)} images of {images_path.name}, got {len(labels)}"
        )
    if len(labels) == 0:
        raise DataError(f"{images_path}: expected at least one image, got none")
    if labels.max() >= classes:
        first = int(np.argmax(labels >= classes))
        raise DataError(f"{labels_path}: expected labels from 0 to {classes - 1}, got {labels[first]} at position {first}")
    return Split(_pad(pixels, images_path, image_size), torch.from_numpy(labels.astype(np.int64)))


def _pad(pixels: np.ndarray, path: Path, image_size: int) -> Tensor:
    """uint8 (N, H, W) to uint8 (N, 1, image_size, image_size), the image in the middle of zeros."""
    count, height, width = pixels.shape
    if image_size < max(height, width):
        raise ConfigurationError(
            f"data.image_size: expected at least {max(height, width)}, the size of the images in {path}, got {image_size}"
        )
    top, left = (image_size - height) // 2, (image_size - width) // 2
    padded = np.zeros((count, 1, image_size, image_size), dtype=np.uint8)
    padded[:, 0, top : top + height, left : left + width] = pixels
    return torch.from_numpy(padded)

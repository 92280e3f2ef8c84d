"""Reader of CIFAR-10 in its published Python version: a folder of six pickled batches.

Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009. Each batch is a pickled dictionary with ``data``, uint8
(10000, 3072), the red, green and blue plane of every 32×32 image in row-major order, and ``labels``, a list of classes from 0 to 9.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wwae.data.images import DataError, ImageData
from wwae.training.configuration import ConfigurationError
from wwae.training.dataset import Split

__all__ = ["load_cifar10"]

_SIZE = 32
_CLASSES = 10
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST = ("test_batch",)
_FOLDER = "cifar-10-batches-py"
_WHERE_TO_GET = (
    "the CIFAR page, https://www.cs.toronto.edu/~kriz/cifar.html (the Python version), or "
    "python -c \"from torchvision.datasets import CIFAR10; CIFAR10('data/cifar10', download=True)\", "
    f"which puts them into data/cifar10/{_FOLDER}"
)


def load_cifar10(root: Path | str, image_size: int = _SIZE) -> ImageData:
    """Read CIFAR-10 from its six batch files in the folder ``root``, or in the folder ``cifar-10-batches-py`` inside it.

    No code in the files is run: a batch that holds anything but dictionaries, lists, numbers, text and arrays is refused.

    Args:
        root (Path | str): the folder.
        image_size (int): height and width of the images: 32.

    Returns:
        ImageData: three channels (RGB), uint8 from 0 to 255, 50,000 images for training and 10,000 for testing as published.

    Raises:
        DataError: a file is missing, damaged, or no such batch; the message names it.
        ConfigurationError: ``image_size`` is not 32.
    """
    if image_size != _SIZE:
        raise ConfigurationError(f"data.image_size: expected {_SIZE}, the size of the images of cifar10, got {image_size}")
    root = Path(root)
    folder = root / _FOLDER if (root / _FOLDER).is_dir() else root
    missing = [name for name in (*_TRAIN, *_TEST) if not (folder / name).is_file()]
    if missing:
        what = "no such folder" if not folder.is_dir() else f"{len(missing)} of {len(_TRAIN + _TEST)} files missing"
        looked_for = "\n".join(f"  {folder / name}" for name in missing)
        raise DataError(f"cifar10: {what}: {folder}\nlooked for\n{looked_for}\nGet them from {_WHERE_TO_GET}.")
    train, test = (_join([_read_batch(folder / name) for name in names]) for names in (_TRAIN, _TEST))
    return ImageData(name="cifar10", train=train, test=test, classes=_CLASSES)


def _read_batch(path: Path) -> Split:
    try:
        with path.open("rb") as file:
            batch = _DataUnpickler(file, encoding="bytes").load()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # damaged pickles raise a dozen classes
        raise DataError(f"{path}: damaged, or no batch of CIFAR-10: {error}") from error
    if not isinstance(batch, dict) or not {b"data", b"labels"} <= set(batch):
        raise DataError(f"{path}: expected a dictionary with data and labels, as the batches of CIFAR-10 (Python version)")
    data, labels = batch[b"data"], batch[b"labels"]
    values = 3 * _SIZE * _SIZE
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != values:
        found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{path}: expected data as a uint8 array of shape (N, {values}), got {found}")
    if not isinstance(labels, list) or len(labels) != len(data):
        found = str(len(labels)) if isinstance(labels, list) else type(labels).__name__
        raise DataError(f"{path}: expected a list with one label for each of the {len(data)} images, got {found}")
    if len(data) == 0:
        raise DataError(f"{path}: expected at least one image, got none")
    wrong = next((n for n, label in enumerate(labels) if not isinstance(label, int) or not 0 <= label < _CLASSES), None)
    if wrong is not None:
        raise DataError(f"{path}: expected labels from 0 to {_CLASSES - 1}, got {labels[wrong]!r} at position {wrong}")
    images = torch.from_numpy(data.reshape(-1, 3, _SIZE, _SIZE).copy())
    return Split(images, torch.tensor(labels, dtype=torch.int64))


def _join(parts: list[Split]) -> Split:
    return Split(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))


class _DataUnpickler(pickle.Unpickler):
    """Builds arrays and plain values; every other class or function is refused."""

    # The last one is how Python 3 writes bytes in this form of pickle.
    _ALLOWED = frozenset(
        {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy._core", "numpy.core"), name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        # NumPy 2 has renamed the module that the published files name.
        return _reconstruct if name == "_reconstruct" else super().find_class(module, name)


def _reconstruct(*arguments: Any) -> Any:
    return np.ndarray.__reduce__(np.empty(0))[0](*arguments)  # type: ignore[operator]

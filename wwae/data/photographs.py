"""Labelled photographs on disk, in folders or tar files, read one by one: the layout of ImageNet.

=============================  ==========================================================================
``train/CLASS/NAME.jpg``       a folder for each class
``train/SHARD.tar``            tar files whose members are ``CLASS/NAME.jpg``
``train/CLASS.tar``            tar files of one class each, whose members are ``NAME.jpg``
=============================  ==========================================================================

and the same in ``val`` (or ``validation`` or ``test``). Classes are numbered in the order of their names.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from wwae.data.crops import Crop, whole
from wwae.data.image_files import open_picture
from wwae.data.images import DataError
from wwae.training.dataset import Split

__all__ = ["CroppedPhotographs", "PhotographData", "Photographs", "find_pictures", "load_photographs"]

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
SMALLEST_SIDE = 8

_VALIDATION_FOLDERS = ("val", "validation", "test")


class Location(NamedTuple):
    """Where the bytes of a picture are: a file, or a part of a tar file."""

    path: Path
    member: str | None = None
    offset: int = 0
    size: int = 0

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}: {self.member}"

    def read(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                if self.member is None:
                    return file.read()
                file.seek(self.offset)
                return file.read(self.size)
        except OSError as error:
            raise DataError(f"{self}: cannot be read: {error.strerror or error}") from error


class Photographs(Dataset[tuple[Image.Image, int]]):
    """Pictures with their labels; ``photographs[i]`` reads the i-th as RGB.

    It holds no open file, so that it can be given to the worker processes of a ``torch.utils.data.DataLoader``.

    Attributes:
        locations (tuple[Location, ...]): of the pictures; ``str()`` of one is its name in messages.
        labels (Tensor[N], int64): the class of each.
        classes (tuple[str, ...]): names of the classes.
    """

    def __init__(self, locations: Iterable[Location], labels: Iterable[int], classes: Iterable[str]) -> None:
        self.locations = tuple(locations)
        self.labels: Tensor = torch.tensor(list(labels), dtype=torch.int64)
        self.classes = tuple(classes)

    def __len__(self) -> int:
        return len(self.locations)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Read a picture, upright, its transparent parts black.

        Raises:
            DataError: the file is no picture, is damaged, or has a side below 8 pixels; the message names it.
        """
        location = self.locations[index]
        picture = open_picture(io.BytesIO(location.read()), str(location), channels=3)
        if min(picture.size) < SMALLEST_SIDE:
            raise DataError(
                f"{location}: too small: expected {SMALLEST_SIDE} pixels or more a side, got {picture.width}x{picture.height}"
            )
        return picture, int(self.labels[index])


@dataclass(frozen=True)
class CroppedPhotographs:
    """Photographs at one size: a :class:`wwae.training.ImageSet`, which reads them when they are needed.

    Args:
        photographs (Photographs): what is read.
        training (Crop): the random crop, such as :func:`wwae.data.vgg_crop`.
        evaluation (Crop): the crop that is measured, such as :func:`wwae.data.centre_crop`; of the same size.
    """

    photographs: Photographs
    training: Crop
    evaluation: Crop

    def __len__(self) -> int:
        return len(self.photographs)

    def read(self, positions: Tensor, seed: int | None = None) -> Split:
        """Return crops (N, 3, H, W), float32, RGB in [0, 1], and labels; with a seed random ones.

        Raises:
            DataError: a picture cannot be read.
        """
        crop = self.evaluation if seed is None else self.training
        with torch.random.fork_rng(devices=[]):
            if seed is not None:
                torch.manual_seed(seed)
            images = torch.stack([crop(self.photographs[position][0]) for position in positions.tolist()])
        return Split(images, self.photographs.labels[positions])


@dataclass(frozen=True)
class WholePhotographs:
    """Photographs with their shorter side at one length, uncut: a :class:`wwae.training.ImageSet` that is read one by one.

    Args:
        photographs (Photographs): what is read.
        shortest (int): the shorter side in pixels.
    """

    photographs: Photographs
    shortest: int

    def __len__(self) -> int:
        return len(self.photographs)

    def read(self, positions: Tensor, seed: int | None = None) -> Split:
        """Return one picture (1, 3, H, W), float32, RGB in [0, 1], and its label.

        Raises:
            DataError: the picture cannot be read.
            ValueError: ``positions`` are several, which have no common size.
        """
        if len(positions) != 1:
            raise ValueError(f"WholePhotographs.read: expected one position, got {len(positions)}")
        picture = whole(self.shortest)(self.photographs[int(positions[0])][0])
        return Split(picture[None], self.photographs.labels[positions])


@dataclass(frozen=True)
class PhotographData:
    """The two parts of a data set; they have the same classes."""

    train: Photographs
    validation: Photographs


def load_photographs(root: Path | str) -> PhotographData:
    """Find the photographs of a data set in the layout of ImageNet; they are read when they are asked for.

    Args:
        root (Path | str): the folder that holds ``train`` and ``val`` (or ``validation`` or ``test``).

    Raises:
        DataError: a part is missing, a class has no pictures, a tar file is damaged, or the parts have different classes.
    """
    root = Path(root)
    validation = next((root / name for name in _VALIDATION_FOLDERS if (root / name).is_dir()), root / _VALIDATION_FOLDERS[0])
    missing = [str(folder) for folder in (root / "train", validation) if not folder.is_dir()]
    if missing:
        raise DataError(
            f"{root}: no such folder: {', '.join(missing)}\nExpected train/CLASS/NAME.jpg and val/CLASS/NAME.jpg, or tar files "
            "of them in train and val, as in ImageNet (https://image-net.org/download.php)."
        )
    parts = _photographs(root / "train"), _photographs(validation)
    first, second = (set(part.classes) for part in parts)
    if first != second:
        only = ", ".join(sorted(first ^ second)[:4])
        raise DataError(f"{validation}: expected the {len(first)} classes of {root / 'train'}; not in both: {only}")
    return PhotographData(*parts)


def find_pictures(folder: Path | str) -> tuple[Location, ...]:
    """The pictures that lie in a folder itself, without labels, in the order of their names.

    Raises:
        DataError: there are none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    found = tuple(Location(path) for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise DataError(f"{folder}: expected pictures ({', '.join(sorted(SUFFIXES))}), found none")
    return found


def _photographs(folder: Path) -> Photographs:
    shards = sorted(folder.glob("*.tar"))
    by_class = _from_shards(shards) if shards else _from_folders(folder)
    classes = sorted(by_class)
    labelled = [(location, label) for label, name in enumerate(classes) for location in by_class[name]]
    return Photographs((location for location, _ in labelled), (label for _, label in labelled), classes)


def _from_folders(folder: Path) -> dict[str, tuple[Location, ...]]:
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    if not inside:
        raise DataError(f"{folder}: expected a folder for each class or tar files, found neither")
    by_class = {}
    for path in inside:
        try:
            by_class[path.name] = find_pictures(path)
        except DataError:
            raise DataError(f"{path}: the folder of a class is empty: expected pictures ({', '.join(sorted(SUFFIXES))})") from None
    return by_class


def _from_shards(shards: list[Path]) -> dict[str, list[Location]]:
    by_class: dict[str, list[Location]] = {}
    for shard in shards:
        members = _members(shard)
        if not members:
            raise DataError(f"{shard}: expected pictures ({', '.join(sorted(SUFFIXES))}), found none")
        for location in members:
            name = PurePosixPath(str(location.member)).parent.name or shard.stem
            by_class.setdefault(name, []).append(location)
    return by_class


def _members(shard: Path) -> list[Location]:
    try:
        with tarfile.open(shard, "r:") as archive:
            return [
                Location(shard, member.name, member.offset_data, member.size)
                for member in archive
                if member.isfile() and PurePosixPath(member.name).suffix.lower() in SUFFIXES
            ]
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{shard}: damaged or compressed tar file: {error}") from error
    except OSError as error:
        raise DataError(f"{shard}: cannot be read: {error.strerror or error}") from error

"""What every reader of a data set returns."""

from __future__ import annotations

from dataclasses import dataclass

from wwae.training.dataset import Split

__all__ = ["DataError", "ImageData"]


class DataError(Exception):
    """A data file or image that is missing, damaged or not what it should be; the message names it and its fault."""


@dataclass(frozen=True)
class ImageData:
    """One data set, in memory.

    Args:
        name (str): for messages, such as ``mnist``.
        train (Split): all images with a label that training may use.
        test (Split): images that only the final errors are measured on.
        classes (int): number of classes; labels lie in [0, classes).
    """

    name: str
    train: Split
    test: Split
    classes: int

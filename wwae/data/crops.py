"""Crops of photographs for training and for measuring: the schemes of Zhang, Lee and Lee (2016, arXiv:1606.06582), section 4.1.

Each takes a picture and gives a Tensor[3, size, size], float32, RGB in [0, 1]. Nothing is normalised: that is the encoder's part,
and the reconstruction's target is the picture itself. Colours are not changed. The random ones draw from PyTorch's generator.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

__all__ = ["Crop", "alexnet_crop", "centre_crop", "vgg_crop", "whole"]

Crop = Callable[[Image.Image], Tensor]


def vgg_crop(size: int = 224, shortest: tuple[int, int] = (256, 512)) -> Crop:
    """The scheme for VGG: resize the shorter side to a random length, both ends included, take a random square of it, mirror half.

    Args:
        size (int): side of the square in pixels.
        shortest (pair): bounds of the shorter side; the lower is at least ``size``.
    """
    if not size <= shortest[0] <= shortest[1]:
        raise ValueError(f"vgg_crop: expected size <= shortest[0] <= shortest[1], got size={size} and shortest={shortest}")
    lengths = list(range(shortest[0], shortest[1] + 1))
    return v2.Compose([v2.RandomShortestSize(lengths), v2.RandomCrop(size), v2.RandomHorizontalFlip(), *_to_tensor()])


def alexnet_crop(size: int = 227, square: int = 256) -> Crop:
    """The scheme for AlexNet (Krizhevsky et al. 2012): resize the central square, take a random part of it, mirror half.

    Args:
        size (int): side of the part in pixels.
        square (int): side of the resized square, at least ``size``.
    """
    if size > square:
        raise ValueError(f"alexnet_crop: expected size <= square, got size={size} and square={square}")
    return v2.Compose([v2.Resize(square), v2.CenterCrop(square), v2.RandomCrop(size), v2.RandomHorizontalFlip(), *_to_tensor()])


def centre_crop(size: int = 224, shortest: int = 256) -> Crop:
    """For measuring: resize the shorter side and take the square in the middle.

    Args:
        size (int): side of the square in pixels.
        shortest (int): length of the shorter side, at least ``size``.
    """
    if size > shortest:
        raise ValueError(f"centre_crop: expected size <= shortest, got size={size} and shortest={shortest}")
    return v2.Compose([v2.Resize(shortest), v2.CenterCrop(size), *_to_tensor()])


def whole(shortest: int = 256) -> Crop:
    """For measuring a fully convolutional network: resize the shorter side and cut nothing away.

    Args:
        shortest (int): length of the shorter side.
    """
    return v2.Compose([v2.Resize(shortest), *_to_tensor()])


def _to_tensor() -> list[torch.nn.Module]:
    return [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]

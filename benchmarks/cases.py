"""The maps that are pooled, and every combination that is measured on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch

from wwae.reference.window import pooled_sizes

Pair = tuple[int, int]

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
DIRECTIONS = ("forward", "backward", "step")
PROVIDERS = ("copy", "wwae", "eager", "compile")
MATMUL = "matmul"
ALL_PROVIDERS = (*PROVIDERS, MATMUL)


@dataclass(frozen=True)
class Case:
    """A map of ``(batch, channels, size, size)`` and the window that pools it, without padding."""

    name: str
    batch: int
    channels: int
    size: int
    kernel: int
    stride: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the map."""
        return self.batch, self.channels, self.size, self.size

    @property
    def windows(self) -> int:
        """Number of pooled values of the whole batch."""
        height, width = pooled_sizes(self.shape[2:], (self.kernel,) * 2, (self.stride,) * 2, (0, 0), (1, 1), False)
        return self.batch * self.channels * height * width

    @property
    def elements(self) -> int:
        """Number of elements of the map of the whole batch."""
        return self.batch * self.channels * self.size * self.size

    @property
    def overlapping(self) -> bool:
        """Whether an element can belong to two windows."""
        return self.stride < self.kernel

    @property
    def offset_bytes(self) -> int:
        """Bytes of a switch: one up to 256 taps, which all cases keep to."""
        assert self.kernel**2 <= 256
        return 1


@dataclass(frozen=True)
class Setting:
    """One measurement: a case, how its map is stored, what is timed, and who computes it.

    ``copy`` computes nothing: it moves the bytes that the operation has to move, half of them read and half written. ``matmul``,
    for operations that multiply, is a product of square matrices with as many multiplications.
    """

    case: Case
    dtype: str
    layout: str
    direction: str
    provider: str

    @property
    def comparison(self) -> str:
        """What it shares with the settings that it is compared with: all but the provider."""
        return "-".join((self.case.name, self.dtype, self.layout, self.direction))

    @property
    def computes(self) -> bool:
        """Whether it is the operation that is measured, not a limit beside it."""
        return self.provider not in ("copy", MATMUL)

    @property
    def element_bytes(self) -> int:
        """Bytes of an element of the map."""
        return DTYPES[self.dtype].itemsize


# Simonyan and Zisserman 2015, configuration D, at 224x224: the input of each max pooling.
_VGG16 = ((64, 224), (128, 112), (256, 56), (512, 28), (512, 14))
# Krizhevsky et al. 2012, as Caffe has it, at 227x227.
_ALEXNET = ((96, 55), (256, 27), (256, 13))


def cases(batch: int) -> list[Case]:
    """The pools of VGG-16, those of AlexNet (3x3, stride 2: overlapping), and a map under 16x16 windows."""
    vgg = [Case(f"vgg16.pool{i}", batch, c, size, kernel=2, stride=2) for i, (c, size) in enumerate(_VGG16, 1)]
    alexnet = [Case(f"alexnet.pool{i}", batch, c, size, kernel=3, stride=2) for i, (c, size) in enumerate(_ALEXNET, 1)]
    return [*vgg, *alexnet, Case("window16", batch, 64, 224, kernel=16, stride=16)]


def convolved_cases(batch: int) -> list[Case]:
    """The pools of VGG-16, and those of a SWWAE for 32x32 images, ``(64)3c-2p-(64)3c-2p-(64)3c-2p``, with 16 times the images."""
    swwae = [Case(f"swwae.pool{i}", 16 * batch, 64, size, kernel=2, stride=2) for i, size in enumerate((32, 16, 8), 1)]
    return [case for case in cases(batch) if case.name.startswith("vgg16")] + swwae


def quick_cases() -> list[Case]:
    """Maps of a few kilobytes: they show that the suite works, and nothing about speed."""
    return [Case("small", 1, 8, 16, kernel=2, stride=2), Case("small-overlapping", 1, 8, 15, kernel=3, stride=2)]


def comparisons(chosen: list[Case], dtypes: tuple[str, ...], providers: tuple[str, ...]) -> Iterator[tuple[Setting, ...]]:
    """Every combination, each as the settings that differ in nothing but the provider; none without providers."""
    for combination in product(chosen, dtypes, LAYOUTS, DIRECTIONS) if providers else ():
        yield tuple(Setting(*combination, provider) for provider in providers)

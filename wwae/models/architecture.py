"""The notation of Zhao et al. (2015, arXiv:1506.02351, section 4) for a network, such as ``(16)5c-(32)3c-2p-10fc``.

============  =======================================================================
``(16)5c``    convolution with 16 feature maps and a 5x5 kernel, followed by a ReLU
``2p``        2x2 max pooling with stride 2
``10fc``      fully-connected layer with 10 units; such layers come after all the others
============  =======================================================================

Layers are joined by ``-``; spaces mean nothing; every number is at least 1 and has no leading zero.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Convolution", "FullyConnected", "Layer", "Pooling", "format_architecture", "parse_architecture"]


class Convolution(NamedTuple):
    """``(maps)kernel_size c``: a convolution with a square kernel, stride 1 and "same" padding, then a ReLU."""

    maps: int
    kernel_size: int

    def __str__(self) -> str:
        return f"({self.maps}){self.kernel_size}c"


class Pooling(NamedTuple):
    """``kernel_size p``: max pooling over square windows that lie side by side."""

    kernel_size: int

    def __str__(self) -> str:
        return f"{self.kernel_size}p"


class FullyConnected(NamedTuple):
    """``units fc``: a linear layer; a ReLU follows all but the last one of a network."""

    units: int

    def __str__(self) -> str:
        return f"{self.units}fc"


Layer = Convolution | Pooling | FullyConnected

_NUMBER = r"([1-9][0-9]*)"
_LAYERS = (
    (re.compile(rf"\({_NUMBER}\){_NUMBER}c"), Convolution),
    (re.compile(rf"{_NUMBER}p"), Pooling),
    (re.compile(rf"{_NUMBER}fc"), FullyConnected),
)


def parse_architecture(text: str) -> tuple[Layer, ...]:
    """Parse the notation of a network into its layers, first layer first.

    Example:
        >>> parse_architecture("(16)5c - 2p - 10fc")
        (Convolution(maps=16, kernel_size=5), Pooling(kernel_size=2), FullyConnected(units=10))

    Raises:
        ValueError: the text is not in the notation, or a convolution or pooling layer follows a fully-connected one;
        the
            message shows the text with a caret under the first bad layer.
    """
    layers: list[Layer] = []
    start = 0
    for part in text.split("-"):
        # The caret points into the text as it was given, spaces included.
        position = start + len(part) - len(part.lstrip())
        start += len(part) + 1
        layer = _parse_layer("".join(part.split()))
        if layer is None:
            found = repr(part.strip()) if part.strip() else "nothing"
            raise _error(text, position, f"expected a layer such as (64)5c, 2p or 10fc, got {found}")
        if layers and isinstance(layers[-1], FullyConnected) and not isinstance(layer, FullyConnected):
            raise _error(text, position, f"expected only fc layers after {layers[-1]}, got {layer}")
        layers.append(layer)
    return tuple(layers)


def format_architecture(layers: tuple[Layer, ...]) -> str:
    """Write layers in the notation that :func:`parse_architecture` reads, without spaces."""
    return "-".join(str(layer) for layer in layers)


def _parse_layer(token: str) -> Layer | None:
    for pattern, make in _LAYERS:
        if match := pattern.fullmatch(token):
            return make(*(int(number) for number in match.groups()))
    return None


def _error(text: str, position: int, message: str) -> ValueError:
    return ValueError(f"parse_architecture: {message} at position {position}\n  {text}\n  {' ' * position}^")

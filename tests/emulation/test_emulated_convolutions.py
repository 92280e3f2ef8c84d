"""The CUDA kernels of the fused convolutions, run on the CPU, equal the reference to the bit.

Small integers are multiplied, whose sums are exact in any order. The cases that every backend is held to come first, then sizes
on both sides of what a block, a step and a vector of these kernels hold: 16 x 16 positions, 64 and 32 channels, 8 channels.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from convolution_cases import CHECKS, Convolution, parameters, small_integers
from emulation.build import missing
from emulation.emulated import EmulatedKernels
from kernel_cases import CASES as POOLINGS
from kernel_cases import Case, assert_same, in_layout
from torch import Tensor

from wwae.reference.conv_relu_pool2d import conv_relu_pool2d_reference
from wwae.reference.switch_pool2d import switch_pool2d_reference
from wwae.reference.unpool_conv2d import unpool_conv2d_reference
from wwae.reference.unpool_conv2d_weight_backward import unpool_conv2d_weight_backward_reference

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")

STEMS = ("conv_relu_pool2d", "unpool_conv2d", "unpool_conv2d_weight_backward")
TWO = ((2, 2), (2, 2))
THREE = ((3, 3), (2, 2))
SAME = Convolution((3, 3), padding=(1, 1))


class TileCase(NamedTuple):
    """A convolution, with `outputs` channels, of a map (N, C, H, W) and a pooling: of its result, or, where the convolution
    is of the unpooled map, of that map."""

    convolution: Convolution
    outputs: int
    pooling: Case


TILES = {
    "half vector": TileCase(SAME, 12, Case((1, 4, 6, 6), *TWO)),
    "one tile": TileCase(SAME, 64, Case((1, 32, 16, 16), *TWO)),
    "two chunks, rectangle": TileCase(SAME, 72, Case((1, 40, 19, 21), *TWO)),
    "odd channels, ceil": TileCase(SAME, 11, Case((2, 5, 9, 17), *TWO, ceil_mode=True)),
    "one channel, no bias": TileCase(SAME._replace(bias=False), 1, Case((1, 1, 7, 6), *TWO)),
    "pool 3x3": TileCase(SAME, 24, Case((1, 16, 18, 17), *THREE)),
    "pool 3x3 padding": TileCase(Convolution((3, 3)), 8, Case((1, 8, 20, 16), *THREE, (1, 1), ceil_mode=True)),
    "conv 5x5": TileCase(Convolution((5, 5), padding=(2, 2)), 16, Case((1, 33, 12, 20), *TWO)),
    "conv 1x1, four chunks": TileCase(Convolution((1, 1)), 8, Case((1, 104, 6, 18), *TWO)),
    "conv rectangle": TileCase(Convolution((4, 3), padding=(3, 0)), 8, Case((2, 16, 6, 20), (1, 1), (1, 1))),
    "pool rectangle": TileCase(Convolution((1, 2), padding=(0, 1)), 9, Case((2, 24, 7, 11), (2, 3), (1, 2), (1, 0), (2, 1))),
    "conv 7x7, pool 16x16": TileCase(Convolution((7, 7), padding=(3, 3)), 5, Case((1, 3, 20, 35), (16, 16), (16, 16), (0, 8))),
    "no real tap": TileCase(SAME, 8, Case((1, 8, 2, 2), *TWO, (1, 1), (3, 3))),
    "stride wider than a tile": TileCase(SAME, 8, Case((1, 8, 5, 40), (2, 3), (2, 19))),
}
dtypes = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
tiles = pytest.mark.parametrize("tile", TILES.values(), ids=TILES.keys())
stems = pytest.mark.parametrize("stem", STEMS)


def with_specials(x: Tensor) -> Tensor:
    """With NaN, infinities and negative zeros among the integers."""
    kind = torch.randint(0, 400, x.shape, generator=torch.Generator().manual_seed(40))
    for number, value in enumerate((torch.nan, torch.inf, -torch.inf, -0.0)):
        x[kind == number] = value
    return x


def arguments_of(stem: str, tile: TileCase, dtype: torch.dtype, special: bool = False) -> tuple:
    """Those of a backend function. Of the switches some name no tap."""
    convolution, outputs, case = tile
    shape = case.shape
    weight, bias = parameters(outputs, shape[1], convolution, dtype)
    if stem == "conv_relu_pool2d":
        x = small_integers(shape, dtype, seed=41)
        x = in_layout(with_specials(x) if special else x, True)
        return (x, weight, bias, *case.window, case.ceil_mode, *convolution.arguments)
    generator = torch.Generator().manual_seed(42)
    _, offsets = switch_pool2d_reference(torch.randn(shape, generator=generator), *case.window, case.ceil_mode)
    corrupt = torch.randint(0, 256, offsets.shape, generator=generator, dtype=torch.uint8)
    offsets = in_layout(torch.where(corrupt < 16, corrupt * 16, offsets), True)
    x = small_integers(offsets.shape, dtype, seed=43)
    x = in_layout(with_specials(x) if special else x, True)
    if stem == "unpool_conv2d":
        return (x, offsets, weight, bias, *case.window, shape[2:], convolution.padding, special)
    axes = zip(shape[2:], convolution.padding, convolution.kernel_size, strict=True)
    dense = small_integers((shape[0], outputs, *(n + 2 * p - k + 1 for n, p, k in axes)), dtype, seed=44)
    return (x, offsets, in_layout(dense, True), *case.window, shape[2:], convolution.kernel_size, convolution.padding)


REFERENCES: dict[str, Callable[..., Tensor | tuple[Tensor, Tensor]]] = {
    "conv_relu_pool2d": conv_relu_pool2d_reference,
    "unpool_conv2d": unpool_conv2d_reference,
    "unpool_conv2d_weight_backward": unpool_conv2d_weight_backward_reference,
}


def check(kernels: EmulatedKernels, stem: str, arguments: tuple) -> None:
    """Equal to the reference, without a bank conflict."""
    kernels.bank_conflicts()
    actual, expected = getattr(kernels, stem)(*arguments), REFERENCES[stem](*arguments)
    assert kernels.bank_conflicts() == 0
    for a, e in zip(*((r,) if isinstance(r, Tensor) else r for r in (actual, expected)), strict=True):
        assert_same(a, e, e)


@stems
@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("name", ["2x2 half vector", "2x2 odd ceil", "2x2 padding", "3x3 stride 2 padding ceil", "no real tap"])
def test_equals_reference(library: Path, stem: str, channels_last: bool, name: str):
    compare, variants = CHECKS[stem]
    for variant in variants:
        compare(getattr(EmulatedKernels(library), stem), POOLINGS[name], torch.bfloat16, channels_last, *variant)


@stems
@dtypes
@tiles
def test_tiles(library: Path, stem: str, dtype: torch.dtype, tile: TileCase):
    check(EmulatedKernels(library), stem, arguments_of(stem, tile, dtype))


@pytest.mark.parametrize("order", [("reverse", 0), ("random", 1), ("random", 2)], ids=str)
@stems
@pytest.mark.parametrize("name", ["half vector", "two chunks, rectangle", "pool 3x3", "conv 5x5", "conv 1x1, four chunks"])
def test_any_order(library: Path, stem: str, order: tuple[str, int], name: str):
    check(EmulatedKernels(library, *order), stem, arguments_of(stem, TILES[name], torch.bfloat16))


@pytest.mark.parametrize("stem", STEMS[:2])
@pytest.mark.parametrize("name", ["odd channels, ceil", "pool 3x3 padding"])
def test_nan_and_infinities(library: Path, stem: str, name: str):
    check(EmulatedKernels(library), stem, arguments_of(stem, TILES[name], torch.float16, special=True))


@stems
def test_unaligned_input(library: Path, stem: str):
    """Memory that starts one element behind an aligned address is not read in vectors."""
    tensor, *others = arguments_of(stem, TILES["one tile"], torch.bfloat16)
    storage = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)
    shifted = storage[1:].as_strided(tensor.shape, tensor.stride()).copy_(tensor)
    check(EmulatedKernels(library), stem, (shifted, *others))


@stems
def test_another_dtype_is_refused(library: Path, stem: str):
    arguments = arguments_of(stem, TILES["one tile"], torch.float32)
    with pytest.raises(RuntimeError, match=f"{stem}: the CUDA kernel takes x of dtype bfloat16 or float16, got torch.float32"):
        getattr(EmulatedKernels(library), stem)(*arguments)

"""The bytes that each kernel moves are those that its header promises.

Global memory moves in sectors of 32 bytes. A header says how many bytes its kernels move for each element of the
full-resolution map, for 16-bit floats and 2 x 2 windows; "moved" here are the sectors that a launch touches.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from emulation.build import ROOT, build, missing
from emulation.emulated import EmulatedKernels, Traffic
from kernel_cases import in_layout, make_map

from wwae.ops._library import OPERATIONS
from wwae.ops.backends import _KERNELS_OF
from wwae.reference.max_pool2d import max_pool2d_reference

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")

layouts = pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
# Those with kernels of their own.
STEMS = [stem for stem in OPERATIONS if stem not in _KERNELS_OF]

Call = Callable[..., object]
TWO_BY_TWO = ((2, 2), (2, 2), (0, 0), (1, 1))
THREE_BY_THREE = ((3, 3), (2, 2), (0, 0), (1, 1))


def positions(values: torch.Tensor) -> torch.Tensor:
    """Of the soft operations, all between two taps."""
    return torch.full((*values.shape, 2), 0.25)


def weights() -> torch.Tensor:
    """Of a 3 x 3 convolution."""
    return torch.ones(CHANNELS, CHANNELS, 3, 3, dtype=torch.bfloat16)


# stem: (kernels, window, x, pooled values, offsets, indices) -> a call of the operation
CALLS: dict[str, Call] = {
    "switch_pool2d": lambda k, window, x, *_: k.switch_pool2d(x, *window, False),
    "max_pool2d": lambda k, window, x, *_: k.max_pool2d(x, *window, False),
    "soft_argmax_pool2d": lambda k, window, x, *_: k.soft_argmax_pool2d(x, torch.ones(x.shape[:2]), *window[:3]),
    "soft_argmax_pool2d_backward": lambda k, window, x, v, *_: k.soft_argmax_pool2d_backward(
        x, torch.ones(x.shape[:2]), v, positions(v), *window[:3], False
    ),
    "soft_argmax_unpool2d": lambda k, window, x, v, *_: k.soft_argmax_unpool2d(v, positions(v), *window[:3], x.shape[2:]),
    "soft_argmax_unpool2d_backward": lambda k, window, x, v, *_: k.soft_argmax_unpool2d_backward(v, positions(v), x, *window[:3]),
    "switch_unpool2d": lambda k, window, x, v, o, _: k.switch_unpool2d(v, o, *window, x.shape[2:], "last"),
    "switch_gather2d": lambda k, window, x, v, o, _: k.switch_gather2d(x, o, *window, "last"),
    "fixed_unpool2d": lambda k, window, x, v, *_: k.fixed_unpool2d(v, window[1], (1, 1), x.shape[2:]),
    "max_unpool2d": lambda k, _, x, v, o, i: k.max_unpool2d(v, i, x.shape[2:]),
    "max_gather2d": lambda k, _, x, v, o, i: k.max_gather2d(x, i),
    "bias_relu_pool2d": lambda k, window, x, *_: k.bias_relu_pool2d(x, torch.ones(CHANNELS), *window, False),
    "bias_relu_pool2d_backward": lambda k, window, x, v, o, _: k.bias_relu_pool2d_backward(v, v.clone(), o, *window, x.shape[2:]),
    "batch_norm_relu_pool2d": lambda k, window, x, *_: k.batch_norm_relu_pool2d(
        x, torch.ones(CHANNELS), torch.ones(CHANNELS), None, None, 1e-5, *window, False
    ),
    # Every window is open, so that its pixel is read.
    "batch_norm_relu_pool2d_backward": lambda k, window, x, v, o, _: k.batch_norm_relu_pool2d_backward(
        v.abs() + 1, v.abs() + 1, o, x, *(torch.ones(CHANNELS) for _ in range(3)), True, 1e-5, *window
    ),
    "conv_relu_pool2d": lambda k, window, x, *_: k.conv_relu_pool2d(x, weights(), None, *window, False, (1, 1), (1, 1), (1, 1), 1),
    "unpool_conv2d": lambda k, window, x, v, o, _: k.unpool_conv2d(v, o, weights(), None, *window, x.shape[2:], (1, 1), False),
    "unpool_conv2d_weight_backward": lambda k, window, x, v, o, _: k.unpool_conv2d_weight_backward(
        v, o, x, *window, x.shape[2:], (3, 3), (1, 1)
    ),
}
# Which sectors these touch depends on the indices: nearly all where each window has one of four pixels.
SCATTERED = {"max_unpool2d", "max_gather2d", "batch_norm_relu_pool2d_backward"}
# How many times the bytes are asked for, of which all but the first come from a cache. A strip's first element is read by every
# thread that adds to the strip; tiles of a convolution share their edges, the pixels of an unpooled tile their windows, and the
# weight gradient
ASKED = {"batch_norm_relu_pool2d": 1.1, "conv_relu_pool2d": 1.3, "unpool_conv2d": 2.2, "unpool_conv2d_weight_backward": 2.6}
CHANNELS = 32


def promised(stem: str) -> float:
    """The sum of the bytes that a header lists behind "Bytes moved per ..., 16-bit floats, 2 x 2:" or "stride 2:"."""
    text = re.sub(r"\s*\n//\s*", " ", (ROOT / "csrc" / "cuda" / f"{stem}.cuh").read_text())
    found = re.search(r"Bytes moved per (?:element of x|pixel), 16-bit floats, (?:2 x 2|stride 2): (.*?)(?:\. |\.?\n)", text)
    assert found, f"csrc/cuda/{stem}.cuh does not say what it moves"
    extra = found[1].partition(", and ")[0]  # what an optional output adds
    return sum(float(number) for number in re.findall(r"\d+(?:\.\d+)?", extra))


@pytest.fixture(scope="module")
def counted() -> Path:
    return build("counted")


def run(counted: Path, stem: str, window: tuple, shape: tuple[int, ...], channels_last: bool) -> tuple[EmulatedKernels, int]:
    """The kernels after a call, and the number of elements of the map."""
    x = in_layout(make_map(shape, torch.bfloat16, seed=0, special=False), channels_last)
    values, indices, offsets = (in_layout(t, channels_last) for t in max_pool2d_reference(x, *window, False))
    kernels = EmulatedKernels(counted)
    CALLS[stem](kernels, window, x, values, offsets, indices)
    return kernels, x.numel()


def of_maps(kernels: EmulatedKernels) -> list[Traffic]:
    """Without what is one number a channel, and the weights of a convolution, which stay in the cache."""
    weights_size = weights().nbytes
    return [tensor for tensor in kernels.traffic if tensor.size > CHANNELS * torch.float64.itemsize and tensor.size != weights_size]


def test_every_operation_is_here():
    assert set(CALLS) == set(STEMS)


@pytest.mark.parametrize("stem", STEMS)
@layouts
def test_two_by_two_moves_what_the_header_says(counted: Path, stem: str, channels_last: bool):
    kernels, elements = run(counted, stem, TWO_BY_TWO, (2, CHANNELS, 16, 64), channels_last)
    moved = sum(tensor.moved for tensor in of_maps(kernels)) / elements
    assert moved <= promised(stem)
    assert moved >= promised(stem) * (0.9 if stem in SCATTERED else 1)
    # And no byte is asked for twice but where it has to.
    requested = sum(tensor.requested for tensor in of_maps(kernels)) / elements
    assert requested <= promised(stem) * ASKED.get(stem, 1)


@pytest.mark.parametrize("stem", [stem for stem in STEMS if "conv" not in stem])
@layouts
def test_overlapping_windows_ask_once_for_each_pair_of_window_and_pixel(counted: Path, stem: str, channels_last: bool):
    """3 x 3 / 2: a pixel lies in at most four windows, and a window's nine pixels may each ask for its value."""
    kernels, elements = run(counted, stem, THREE_BY_THREE, (2, CHANNELS, 17, 33), channels_last)
    assert kernels.traffic
    for tensor in of_maps(kernels):
        # A gradient reads its windows once more, for the sums.
        most = 4 if tensor.size == elements * torch.bfloat16.itemsize else 9 + stem.endswith("_backward")
        assert tensor.loads_requested <= most * tensor.size
        assert tensor.stores_requested in (0, tensor.size) or stem in SCATTERED
        assert tensor.moved > 0


def test_a_kernel_that_moves_more_is_seen(counted: Path):
    """Written twice, an output counts twice as requested, and once as moved."""
    x = torch.zeros(2, 256)
    for blocks, requested in ((1, 1024), (2, 2048)):
        kernels = EmulatedKernels(counted)
        kernels.call("same_row", x, blocks)
        assert (kernels.traffic[0].stores_requested, kernels.traffic[0].stores_moved) == (requested, 1024)

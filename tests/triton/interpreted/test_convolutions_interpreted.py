"""The Triton kernels with a convolution, run by the interpreter, equal the reference."""

from __future__ import annotations

import pytest
import torch
from convolution_cases import CHECKS, CONVOLUTIONS, small_integers
from kernel_cases import CASES, Case, assert_same, in_layout, make_offsets
from torch import Tensor

from wwae import triton_kernels
from wwae.reference.conv_relu_pool2d import conv_relu_pool2d_reference
from wwae.reference.convolution import convolution
from wwae.reference.unpool_conv2d import unpool_conv2d_reference
from wwae.reference.unpool_conv2d_weight_backward import unpool_conv2d_weight_backward_reference
from wwae.triton_kernels import conv_relu_pool2d as convolving
from wwae.triton_kernels import unpool_conv2d as unpooling
from wwae.triton_kernels import unpool_conv2d_weight_backward as weighing

TWO = ((2, 2), (2, 2), (0, 0), (1, 1))
THREE = ((3, 3), (2, 2), (0, 0), (1, 1))
PLAIN = ((1, 1), (1, 1), (1, 1), 1)  # stride, padding and dilation of the convolution, and groups
STEMS = ("conv_relu_pool2d", "unpool_conv2d", "unpool_conv2d_weight_backward")


def kernel_of(stem: str):
    return getattr(triton_kernels, f"{stem}_triton")


def normal(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


# 5 x 5 taps take the interpreter long: one geometry has to do. The others are 3 x 3 with and without padding, and 1 x 2.
@pytest.mark.parametrize(
    ("name", "dtype", "channels_last", "convolution"),
    [
        (*geometry, convolution)
        for geometry, convolutions in (
            (("2x2 half vector", torch.bfloat16, True), CONVOLUTIONS[:4]),
            (("2x2 odd ceil", torch.float16, False), CONVOLUTIONS[::3][:2]),
            (("2x2 padding", torch.float32, True), CONVOLUTIONS[2:4]),
            (("3x3 stride 2 padding ceil", torch.bfloat16, True), CONVOLUTIONS[::3][:2]),
        )
        for convolution in convolutions
    ],
    ids=str,
)
@pytest.mark.parametrize("stem", STEMS)
def test_equals_reference(stem: str, name: str, dtype: torch.dtype, channels_last: bool, convolution):
    check, arguments = CHECKS[stem]
    for chosen in arguments:
        if chosen[0] == convolution:
            check(kernel_of(stem), CASES[name], dtype, channels_last, *chosen)


@pytest.mark.parametrize("name", ["1x1", "stride wider than kernel", "disjoint dilated", "rectangle dilated"])
def test_any_windows_with_few_claimants_are_unpooled(name: str):
    case = CASES[name]
    offsets = in_layout(make_offsets(case, torch.float16, corrupt=True), True)
    x = in_layout(small_integers(offsets.shape, torch.float16, seed=1), True)
    weight = small_integers((5, case.shape[1], 3, 3), torch.float16, seed=2)
    arguments = (x, offsets, weight, None, *case.window, case.shape[2:], (1, 1), False)
    assert_same(kernel_of("unpool_conv2d")(*arguments), unpool_conv2d_reference(*arguments), x)


# (C, H, W, O): more channels than a block, and maps that end inside a tile, in descriptors and in pointers.
@pytest.mark.parametrize(
    ("shape", "window", "dtype", "channels_last"),
    [
        ((72, 17, 11, 66), TWO, torch.float16, True),
        ((72, 17, 11, 40), TWO, torch.float16, True),
        ((8, 33, 18, 40), THREE, torch.float16, True),
        ((8, 17, 9, 130), THREE, torch.float16, True),
        ((35, 9, 9, 66), THREE, torch.float32, False),
    ],
    ids=str,
)
def test_several_tiles_and_blocks(shape: tuple, window: tuple, dtype: torch.dtype, channels_last: bool):
    inputs, height, width, outputs = shape
    x = in_layout(small_integers((1, inputs, height, width), dtype, seed=3), channels_last)
    weight = small_integers((outputs, inputs, 3, 3), dtype, seed=4)
    bias = small_integers((outputs,), dtype, seed=5)
    arguments = (x, weight, bias, *window, False, *PLAIN)
    expected = conv_relu_pool2d_reference(*arguments)
    for a, e in zip(kernel_of("conv_relu_pool2d")(*arguments), expected, strict=True):
        assert_same(a, e, x)
    values, offsets = expected
    values = values.clamp(max=2)
    weight = small_integers((inputs, outputs, 3, 3), dtype, seed=6)
    arguments = (values, offsets, weight, None, *window, (height, width), (1, 1), True)
    assert_same(kernel_of("unpool_conv2d")(*arguments), unpool_conv2d_reference(*arguments), x)
    arguments = (values, offsets, x, *window, (height, width), (3, 3), (1, 1))
    gradient = kernel_of("unpool_conv2d_weight_backward")(*arguments)
    torch.testing.assert_close(gradient, unpool_conv2d_weight_backward_reference(*arguments), rtol=0, atol=0)


def test_each_tile_is_taken():
    """What the tests above reach: the descriptor kernel with each of its tiles, and pointers for the rest."""
    half = torch.empty(1, 8, 4, 4, dtype=torch.float16).contiguous(memory_format=torch.channels_last)
    assert convolving._copied_in_boxes(half)
    assert not convolving._copied_in_boxes(half.contiguous())
    assert not convolving._copied_in_boxes(half.float())
    assert not convolving._copied_in_boxes(half[:, :7])
    assert not convolving._copied_in_boxes(half[:, 1:])
    tiles = {convolving._descriptor_tile(torch.empty(o, 8, k, k)) for o, k in ((40, 3), (40, 5), (66, 3))}
    assert tiles == {convolving.SHARING, convolving.NARROW, convolving.BROAD}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("window", [TWO, THREE], ids=["2x2", "3x3"])
def test_not_a_number_and_infinities(window: tuple, channels_last: bool):
    """NaN wins a window, the last of them; infinities meet as in any sum."""
    x = small_integers((1, 8, 13, 14), torch.float16, seed=7)
    kind = torch.randint(0, 90, x.shape, generator=torch.Generator().manual_seed(8))
    for number, special in enumerate((torch.nan, torch.inf, -torch.inf)):
        x[kind == number] = special
    x = in_layout(x, channels_last)
    # No weight is 0: 0 times infinity would make everything NaN.
    weight = small_integers((6, 8, 1, 1), torch.float16, seed=9).where(torch.arange(8).view(1, 8, 1, 1) != 3, 2) * 2 + 1
    bias = torch.full((6,), -12.0, dtype=torch.float16)
    arguments = (x, weight, bias, *window, False, (1, 1), (0, 0), (1, 1), 1)
    values, offsets = conv_relu_pool2d_reference(*arguments)
    assert values.isnan().any()
    assert values.isinf().any()
    assert (values == 0).any()
    for a, e in zip(kernel_of("conv_relu_pool2d")(*arguments), (values, offsets), strict=True):
        assert_same(a, e, x)
    weight = small_integers((6, 6, 3, 3), torch.float16, seed=10) * 2 + 1
    arguments = (values, offsets, weight, None, *window, (13, 14), (1, 1), True)
    actual, expected = kernel_of("unpool_conv2d")(*arguments), unpool_conv2d_reference(*arguments)
    assert_same(actual, expected, x)


def test_a_dead_window_points_at_its_first_real_tap():
    x = in_layout(torch.zeros(1, 8, 6, 6, dtype=torch.float16), True)
    weight = torch.ones(4, 8, 3, 3, dtype=torch.float16)
    padded = ((2, 2), (2, 2), (1, 1), (1, 1))
    values, offsets = kernel_of("conv_relu_pool2d")(x, weight, -torch.ones(4).half(), *padded, True, *PLAIN)
    assert not values.any()
    assert offsets[0, 0].tolist() == [[3, 2, 2, 2], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize(("dtype", "band"), [(torch.bfloat16, 2**-7), (torch.float16, 2**-10), (torch.float32, 2**-9)])
def test_rounding_stays_within_a_step_and_switches_differ_at_near_ties_only(dtype: torch.dtype, band: float):
    x, weight, bias = normal((1, 24, 10, 12), dtype, 11), normal((9, 24, 3, 3), dtype, 12) / 15, normal((9,), dtype, 13)
    x = in_layout(x, True)
    arguments = (x, weight, bias, *TWO, False, *PLAIN)
    values, offsets = kernel_of("conv_relu_pool2d")(*arguments)
    expected, _ = conv_relu_pool2d_reference(*arguments)
    torch.testing.assert_close(values, expected, rtol=band, atol=band)
    # What the chosen tap holds is as large as the largest, up to the rounding.
    full = convolution(x, weight, bias, (1, 1), (1, 1), (1, 1), 1).relu().unflatten(3, (6, 2)).unflatten(2, (5, 2))
    taps = full.permute(0, 1, 2, 4, 3, 5).flatten(-2)
    chosen = taps.gather(-1, offsets.long().unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(chosen, taps.amax(-1), rtol=2 * band, atol=2 * band)


@pytest.mark.parametrize("stem", STEMS)
def test_the_same_bits_twice(stem: str):
    x, weight = in_layout(normal((1, 8, 9, 9), torch.float16, 14), True), normal((5, 8, 3, 3), torch.float16, 15)
    values, offsets = kernel_of("conv_relu_pool2d")(x, weight, None, *THREE, False, *PLAIN)
    calls = {
        "conv_relu_pool2d": (x, weight, None, *THREE, False, *PLAIN),
        "unpool_conv2d": (values, offsets, weight.transpose(0, 1), None, *THREE, (9, 9), (1, 1), False),
        "unpool_conv2d_weight_backward": (values, offsets, x, *THREE, (9, 9), (3, 3), (1, 1)),
    }
    once, again = (kernel_of(stem)(*calls[stem]) for _ in range(2))
    for a, b in zip(once, again, strict=True):
        assert torch.equal(a, b)


def test_weights_in_any_layout():
    x = in_layout(small_integers((1, 8, 7, 9), torch.float16, seed=16), True)
    plain = small_integers((6, 8, 3, 3), torch.float16, seed=17)
    arguments = (*TWO, False, *PLAIN)
    expected = conv_relu_pool2d_reference(x, plain, None, *arguments)
    sliced = small_integers((12, 9, 3, 4), torch.float16, seed=18)[::2, 1:, :, ::2]
    mirrored = plain.flip((2, 3)).transpose(0, 1)
    for weight in (in_layout(plain, True), plain.transpose(2, 3).contiguous().transpose(2, 3), plain[:1].expand(6, -1, -1, -1)):
        expected = conv_relu_pool2d_reference(x, weight, None, *arguments)
        for a, e in zip(kernel_of("conv_relu_pool2d")(x, weight, None, *arguments), expected, strict=True):
            assert_same(a, e, x)
    expected = conv_relu_pool2d_reference(x, sliced, None, *TWO, False, (1, 1), (1, 0), (1, 1), 1)
    for a, e in zip(kernel_of("conv_relu_pool2d")(x, sliced, None, *TWO, False, (1, 1), (1, 0), (1, 1), 1), expected, strict=True):
        assert_same(a, e, x)
    values, offsets = conv_relu_pool2d_reference(x, plain, None, *arguments)
    arguments = (values, offsets, mirrored, None, *TWO, (7, 9), (1, 1), False)
    assert_same(kernel_of("unpool_conv2d")(*arguments), unpool_conv2d_reference(*arguments), x)


def test_maps_that_are_no_whole_tensor():
    """Strides of a slice, whose rows no descriptor can hold, and of an expanded batch."""
    whole = small_integers((2, 9, 8, 10), torch.float16, seed=19)
    weight = small_integers((5, 8, 3, 3), torch.float16, seed=20)
    for x in (in_layout(whole, True)[:, 1:], whole[:1, 1:, ::2].expand(2, -1, -1, -1)):
        arguments = (x, weight, None, *TWO, False, *PLAIN)
        expected = conv_relu_pool2d_reference(*arguments)
        for a, e in zip(kernel_of("conv_relu_pool2d")(*arguments), expected, strict=True):
            assert_same(a, e, e)


@pytest.mark.parametrize("channels_last", [False, True])
def test_empty_batches(channels_last: bool):
    x = in_layout(torch.empty(0, 8, 6, 6, dtype=torch.float16), channels_last)
    weight = torch.ones(5, 8, 3, 3, dtype=torch.float16)
    values, offsets = kernel_of("conv_relu_pool2d")(x, weight, None, *TWO, False, *PLAIN)
    assert values.shape == offsets.shape == (0, 5, 3, 3)
    output = kernel_of("unpool_conv2d")(values, offsets, weight.transpose(0, 1), None, *TWO, (6, 6), (1, 1), False)
    assert output.shape == (0, 8, 6, 6)
    gradient = kernel_of("unpool_conv2d_weight_backward")(values, offsets, x, *TWO, (6, 6), (3, 3), (1, 1))
    assert gradient.shape == (8, 5, 3, 3)
    assert not gradient.any()


def refusals() -> dict[str, tuple]:
    x, weight = torch.zeros(1, 2, 8, 8), torch.zeros(2, 2, 3, 3)
    offsets = torch.zeros(1, 2, 4, 4, dtype=torch.uint8)
    pooled, crowded = torch.zeros(1, 2, 4, 4), ((3, 3), (1, 1), (1, 1), (1, 1))
    name, gradient = "conv_relu_pool2d", "unpool_conv2d_weight_backward"
    return {
        f"{name}: the Triton kernel takes conv_stride=1, conv_dilation=1 and groups=1, got (2, 1), (1, 1) and 1": (
            name, x, weight, None, *TWO, False, (2, 1), (1, 1), (1, 1), 1,
        ),
        f"{name}: the Triton kernel takes windows 2 or 3 high and wide, stride=2 and dilation=1, got kernel_size=(2, 4)": (
            name, x, weight, None, (2, 4), (2, 2), (0, 0), (1, 1), False, *PLAIN,
        ),
        f"{name}: the Triton kernel takes bfloat16, float16 and float32, got float64": (
            name, x.double(), weight.double(), None, *TWO, False, *PLAIN,
        ),
        "unpool_conv2d: the Triton kernel takes windows of which at most 4 hold a pixel, got 9": (
            "unpool_conv2d", pooled, offsets, weight, None, *crowded, (4, 4), (1, 1), False,
        ),
        f"{gradient}: the Triton kernel takes kernels at most 5 wide, got (3, 7)": (
            gradient, pooled, offsets, torch.zeros(1, 2, 8, 8), *TWO, (8, 8), (3, 7), (1, 3),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("message", refusals())
def test_refuses_in_words(message: str):
    stem, *arguments = refusals()[message]
    with pytest.raises(RuntimeError) as refusal:
        kernel_of(stem)(*arguments)
    assert str(refusal.value).startswith(message)


def test_float32_needs_leave_to_round():
    arguments = (torch.zeros(1, 2, 4, 4), torch.zeros(2, 2, 3, 3), None, *TWO, False, *PLAIN)
    with (
        torch.backends.cudnn.flags(allow_tf32=False),
        pytest.raises(RuntimeError, match="conv_relu_pool2d: the Triton kernel takes float32 only with tf32 products"),
    ):
        kernel_of("conv_relu_pool2d")(*arguments)


def test_float32_is_rounded_to_nearest_before_it_is_multiplied():
    """1 + 2^-11 is a tie between two tf32 numbers, and goes to the even one; 1 + 3 * 2^-12 goes up."""
    x = torch.tensor([1 + 2**-11, 1 + 3 * 2**-12, torch.inf, torch.nan]).view(1, 1, 1, 4).repeat_interleave(2, 2)
    x = x.repeat_interleave(2, 3)
    values, _ = kernel_of("conv_relu_pool2d")(x, torch.ones(1, 1, 1, 1), None, *TWO, False, (1, 1), (0, 0), (1, 1), 1)
    expected = torch.tensor([1.0, 1 + 2**-10, torch.inf, torch.nan]).view(1, 1, 1, 4)
    torch.testing.assert_close(values, expected, rtol=0, atol=0, equal_nan=True)


def test_the_tiles_before_sm_90(monkeypatch):
    """Without large shared memory other tiles run; the interpreter is told so."""
    for module in (convolving, unpooling, weighing):
        monkeypatch.setattr(module, "multiplies_from_shared_memory", lambda x: False)
    for window, shape in ((TWO, (1, 8, 8, 10)), (THREE, (1, 8, 9, 11))):
        case = Case(shape, *window)
        for stem in STEMS:
            check, _ = CHECKS[stem]
            extra = {"conv_relu_pool2d": (), "unpool_conv2d": (False, True), "unpool_conv2d_weight_backward": (False,)}[stem]
            check(kernel_of(stem), case, torch.float16, True, CONVOLUTIONS[0], *extra)

"""Pooling with switches: kernels against the reference, and what the docstring promises."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import Case, check_switch_pool2d
from ops.grid import every_case, every_dtype, every_layout

import wwae
from wwae.ops import switch_pool2d
from wwae.reference.switch_pool2d import switch_pool2d_reference


@every_case
@every_dtype
@every_layout
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last):
    check_switch_pool2d(kernel("switch_pool2d"), case, dtype, channels_last)


def test_wide_windows_have_32_bit_offsets(kernel):
    check_switch_pool2d(kernel("switch_pool2d"), Case((1, 2, 190, 185), (182, 182), (182, 182)), torch.float32, False)


@given(data=st.data())
def test_any_geometry_equals_pytorch(data):
    pair = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731
    kernel_size, stride, dilation = data.draw(pair(1, 5)), data.draw(pair(1, 4)), data.draw(pair(1, 3))
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel_size)
    ceil_mode = data.draw(st.booleans())
    extent = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True)]
    size = tuple(data.draw(st.integers(max(1, e - 2 * p), 40)) for e, p in zip(extent, padding, strict=True))
    channels = data.draw(st.integers(1, 20))
    x = torch.randint(-3, 4, (data.draw(st.integers(0, 2)), channels, *size)).float()
    x[torch.rand(x.shape) < 0.05] = torch.nan
    if data.draw(st.booleans()):
        x = x.contiguous(memory_format=torch.channels_last)
    values, switches = switch_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode)
    expected, indices = torch.nn.functional.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices=True)
    torch.testing.assert_close(values, expected, rtol=0, atol=0, equal_nan=True)
    if x.numel():  # PyTorch forgets the layout of an empty batch
        assert values.stride() == expected.stride()
    real = switches.indices() >= 0
    assert torch.equal(switches.indices()[real], indices[real])
    assert (values[~real] == -torch.inf).all()


def test_first_of_equals_and_last_nan_win():
    x = torch.tensor([[[[2.0, 2.0, torch.nan, 1.0], [2.0, 1.0, 7.0, torch.nan]]]])
    values, switches = switch_pool2d(x, 2)
    assert switches.offsets.flatten().tolist() == [0, 3]
    assert values[0, 0, 0, 0] == 2
    assert values[0, 0, 0, 1].isnan()


def test_window_of_minus_infinity_picks_its_first_real_tap():
    values, switches = switch_pool2d(torch.full((1, 1, 2, 2), -torch.inf), 2, 2, padding=1)
    assert (values == -torch.inf).all()
    assert switches.offsets.flatten().tolist() == [3, 2, 1, 0]


def test_window_without_real_tap():
    x = torch.ones(1, 1, 2, 2, requires_grad=True)
    values, switches = switch_pool2d(x, 2, 1, padding=1, dilation=3)
    assert (values == -torch.inf).any()
    assert (switches.indices()[values == -torch.inf] == -1).all()
    values.sum().backward()
    assert x.grad.sum() == (values > -torch.inf).sum()


@pytest.mark.parametrize(("taps", "dtype"), [((16, 16), torch.uint8), ((17, 16), torch.int16), ((182, 182), torch.int32)])
def test_smallest_offset_type(taps, dtype):
    assert switch_pool2d(torch.zeros(1, 1, 182, 182), taps)[1].offsets.dtype == dtype


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (3, 4, 4)])
def test_empty_batch_and_unbatched(shape):
    x = torch.randn(shape, requires_grad=True)
    values, switches = switch_pool2d(x, 2)
    assert values.shape == switches.shape == (*shape[:-2], 2, 2)
    values.sum().backward()
    assert x.grad.shape == shape


def test_strided_and_expanded_input():
    base = torch.randn(4, 6, 20, 30)
    for x in (base[1:, ::2, 3:, ::3], base.transpose(2, 3), base[:, :1].expand(4, 6, 20, 30), base.permute(1, 0, 3, 2)[:, 1:]):
        values, switches = switch_pool2d(x, 3, 2, 1)
        expected, offsets = switch_pool2d_reference(x, (3, 3), (2, 2), (1, 1), (1, 1), False)
        assert torch.equal(values, expected)
        assert torch.equal(switches.offsets, offsets)
        assert values.stride() == expected.stride()


def test_input_is_left_alone():
    x = torch.randn(2, 3, 8, 8)
    copy = x.clone()
    switch_pool2d(x, 2)
    assert torch.equal(x, copy)


def test_large_planes_of_many_threads_repeat():
    x = torch.randn(4, 64, 112, 112)
    first = switch_pool2d(x, 3, 2, 1)
    for _ in range(3):
        again = switch_pool2d(x, 3, 2, 1)
        assert torch.equal(first[0], again[0])
        assert first[1] == again[1]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"x": torch.zeros(4, 4)}, RuntimeError, r"expected x of shape \(N, C, H, W\) or \(C, H, W\), got \(4, 4\)"),
        ({"x": torch.zeros(1, 0, 4, 4)}, RuntimeError, "optional 0 dim batch size"),
        ({"x": torch.zeros(1, 1, 4, 4, dtype=torch.int32)}, RuntimeError, r"expected x of dtype .* got torch.int32"),
        ({"x": [[1.0]]}, TypeError, "expected x to be a tensor, got list"),
        ({"kernel_size": 0}, RuntimeError, "kernel size should be greater than zero"),
        ({"kernel_size": (2, 2, 2)}, RuntimeError, "kernel_size must either be a single int, or a tuple of two ints"),
        ({"kernel_size": "2"}, TypeError, "argument 'kernel_size' must be tuple of ints"),
        ({"kernel_size": 5}, RuntimeError, "Output size is too small"),
        ({"stride": 0}, RuntimeError, r"expected stride >= 1, got \(0, 0\)"),
        ({"padding": -1}, RuntimeError, "pad must be non-negative"),
        ({"padding": 2}, RuntimeError, "pad should be at most half of effective kernel size"),
        ({"dilation": 0}, RuntimeError, r"expected dilation >= 1, got \(0, 0\)"),
    ],
)
def test_errors_name_argument_rule_and_value(arguments, error, words):
    with pytest.raises(error, match=words) as caught:
        switch_pool2d(**({"x": torch.zeros(1, 1, 4, 4), "kernel_size": 2} | arguments))
    assert str(caught.value).startswith("switch_pool2d")


def test_direct_call_of_the_operation_is_differentiable():
    x = torch.randn(1, 2, 4, 4, requires_grad=True)
    values, _ = torch.ops.wwae.switch_pool2d(x, [2, 2], [2, 2], [0, 0], [1, 1], False)
    values.sum().backward()
    assert x.grad.sum() == values.numel()
    assert wwae.backends()["switch_pool2d"]["reference"] is None

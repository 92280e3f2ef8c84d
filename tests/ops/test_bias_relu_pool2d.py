"""Bias, ReLU and pooling in one: kernels against the reference, the reference against PyTorch's chain."""

import pytest
import torch
from fused_cases import check_bias_relu_pool2d, make_parameter
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import Case, in_layout, make_map
from ops.grid import every_case, every_dtype, every_layout
from torch.nn.functional import max_pool2d, relu

from wwae.ops import bias_relu_pool2d, switch_pool2d


@every_case
@every_dtype
@every_layout
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last):
    check_bias_relu_pool2d(kernel("bias_relu_pool2d"), case, dtype, channels_last)


def test_wide_windows_have_32_bit_offsets(kernel):
    check_bias_relu_pool2d(kernel("bias_relu_pool2d"), Case((1, 2, 190, 185), (182, 182), (182, 182)), torch.float32, False)


@every_case
@every_dtype
@every_layout
def test_equals_the_chain_of_pytorch(case, dtype, channels_last):
    x = in_layout(make_map(case.shape, dtype, seed=0), channels_last)
    bias = make_parameter(case.shape[1], dtype, seed=1)
    values, switches = bias_relu_pool2d(x, bias, *case.window, case.ceil_mode)
    chain = relu(x + bias.view(-1, 1, 1))
    expected, indices = max_pool2d(chain, *case.window, case.ceil_mode, return_indices=True)
    torch.testing.assert_close(values, expected, rtol=0, atol=0, equal_nan=True)
    assert values.stride() == expected.stride()
    real = switches.indices() >= 0
    assert torch.equal(switches.indices()[real], indices[real])


@given(data=st.data())
def test_any_geometry_equals_the_two_steps(data):
    pair = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731
    kernel_size, stride, dilation = data.draw(pair(1, 5)), data.draw(pair(1, 4)), data.draw(pair(1, 3))
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel_size)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True)]
    size = tuple(data.draw(st.integers(max(1, e - 2 * p), 40)) for e, p in zip(extent, padding, strict=True))
    dtype = data.draw(st.sampled_from((torch.float32, torch.bfloat16, torch.float16)))
    x = torch.randn(data.draw(st.integers(0, 2)), data.draw(st.integers(1, 40)), *size).to(dtype)
    if data.draw(st.booleans()):
        x = x.contiguous(memory_format=torch.channels_last)
    bias = torch.randn(x.shape[1]) * data.draw(st.sampled_from((0.1, 1.0, 300.0)))
    geometry = (kernel_size, stride, padding, dilation, data.draw(st.booleans()))
    values, switches = bias_relu_pool2d(x, bias, *geometry)
    # In two steps the sum is float32, and rounded to the dtype of x by hand.
    expected, expected_switches = switch_pool2d(relu((x.float() + bias.view(-1, 1, 1)).to(dtype)), *geometry)
    assert torch.equal(values, expected)
    assert switches == expected_switches


def test_window_that_relu_empties_points_at_its_first_real_tap():
    values, switches = bias_relu_pool2d(torch.ones(1, 1, 2, 2), torch.tensor([-2.0]), 2, 2, padding=1)
    assert values.flatten().tolist() == [0, 0, 0, 0]
    assert switches.offsets.flatten().tolist() == [3, 2, 1, 0]


def test_rounding_comes_before_the_comparison():
    # 256 + 1 is 256 in bfloat16, so the two taps are equal and the first one wins.
    x = torch.tensor([[[[0.0, 1.0]]]]).bfloat16()
    assert bias_relu_pool2d(x, torch.tensor([256.0]), (1, 2))[1].offsets.item() == 0
    assert bias_relu_pool2d(x, torch.tensor([16.0]), (1, 2))[1].offsets.item() == 1


def test_gradient_stops_where_relu_stopped_the_value():
    x = torch.tensor([[[[1.0, 3.0, -1.0, -5.0, torch.nan, 1.0]]]], requires_grad=True)
    bias = torch.tensor([-1.0], requires_grad=True)
    values, _ = bias_relu_pool2d(x, bias, (1, 2))
    values.backward(torch.tensor([[[[2.0, 4.0, 8.0]]]]))
    assert x.grad.flatten().tolist() == [0, 2, 0, 0, 8, 0]
    assert bias.grad.tolist() == [10]


@every_layout
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("window", [(2,), (3, 2, 1)], ids=["2x2", "3x3 stride 2"])
def test_gradients_equal_pytorch(dtype, window, channels_last):
    x = in_layout(torch.randn(3, 5, 24, 27).to(dtype), channels_last).requires_grad_()
    bias = torch.randn(5).to(dtype).requires_grad_()
    other, other_bias = (t.detach().clone().requires_grad_() for t in (x, bias))
    values, _ = bias_relu_pool2d(x, bias, *window)
    expected = max_pool2d(relu(other + other_bias.view(-1, 1, 1)), *window)
    weight = torch.rand_like(expected)
    (values * weight).sum().backward()
    (expected * weight).sum().backward()
    # PyTorch rounds each addition of a 16-bit sum, ours the sum once; and float32 sums have another order.
    tolerance = 0 if window == (2,) else torch.finfo(dtype).eps * 4
    torch.testing.assert_close(x.grad, other.grad, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(bias.grad, other_bias.grad)
    assert x.grad.stride() == x.stride()


def test_backward_keeps_values_and_offsets_only():
    x, bias = torch.randn(2, 4, 8, 8, requires_grad=True), torch.randn(4, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        values, switches = bias_relu_pool2d(x, bias, 2)
    assert sorted((t.dtype, t.shape) == (values.dtype, values.shape) for t in kept) == [False, True]
    assert {t.data_ptr() for t in kept} == {values.data_ptr(), switches.offsets.data_ptr()}


def test_float32_bias_of_a_16_bit_map_has_a_float32_gradient():
    x, bias = torch.randn(2, 3, 6, 6).bfloat16(), torch.randn(3, requires_grad=True)
    values, _ = bias_relu_pool2d(x, bias, 2)
    assert values.dtype == torch.bfloat16
    values.sum().backward()
    assert bias.grad.dtype == torch.float32
    assert torch.equal(bias.grad, (values > 0).sum((0, 2, 3)).float())


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (3, 4, 4)])
def test_empty_batch_and_unbatched(shape):
    x, bias = torch.randn(shape, requires_grad=True), torch.zeros(3, requires_grad=True)
    values, switches = bias_relu_pool2d(x, bias, 2)
    assert values.shape == switches.shape == (*shape[:-2], 2, 2)
    values.sum().backward()
    assert x.grad.shape == shape
    assert bias.grad.shape == (3,)


def test_input_is_left_alone():
    x, bias = torch.randn(2, 3, 8, 8), torch.randn(3)
    copies = x.clone(), bias.clone()
    bias_relu_pool2d(x, bias, 2)
    assert torch.equal(x, copies[0])
    assert torch.equal(bias, copies[1])


def test_autocast_takes_a_16_bit_map_and_the_float32_bias():
    layer = torch.nn.Conv2d(3, 4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        x = torch.nn.functional.conv2d(torch.randn(1, 3, 8, 8), layer.weight)
        values, _ = bias_relu_pool2d(x, layer.bias, 2)
    assert values.dtype == torch.bfloat16
    values.sum().backward()
    assert layer.bias.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"x": torch.zeros(4, 4)}, RuntimeError, r"expected x of shape \(N, C, H, W\) or \(C, H, W\), got \(4, 4\)"),
        ({"x": torch.zeros(1, 2, 4, 4).int()}, RuntimeError, r"expected x of dtype .* got torch.int32"),
        ({"bias": None}, TypeError, "expected bias to be a tensor, got NoneType"),
        ({"bias": torch.zeros(3)}, RuntimeError, r"expected bias of shape \(2,\), one number a channel of x, got \(3,\)"),
        ({"bias": torch.zeros(2, 1, 1)}, RuntimeError, r"expected bias of shape \(2,\)"),
        ({"bias": torch.zeros(2).double()}, RuntimeError, r"expected bias of dtype torch.float32 for x of torch.float32, got"),
        (
            {"x": torch.zeros(1, 2, 4, 4).half(), "bias": torch.zeros(2).bfloat16()},
            RuntimeError,
            r"expected bias of dtype torch.float16 or torch.float32 for x of torch.float16, got torch.bfloat16",
        ),
        ({"bias": torch.zeros(2, device="meta")}, RuntimeError, "expected bias on cpu, the device of x, got meta"),
        ({"kernel_size": 5}, RuntimeError, "Output size is too small"),
        ({"padding": 2}, RuntimeError, "pad should be at most half of effective kernel size"),
    ],
)
def test_errors_name_argument_rule_and_value(arguments, error, words):
    with pytest.raises(error, match=words) as caught:
        bias_relu_pool2d(**({"x": torch.zeros(1, 2, 4, 4), "bias": torch.zeros(2), "kernel_size": 2} | arguments))
    assert str(caught.value).startswith("bias_relu_pool2d")


def test_direct_calls_are_refused_before_memory_is_touched():
    call = torch.ops.wwae.bias_relu_pool2d
    geometry = ([2, 2], [2, 2], [0, 0], [1, 1], False)
    for bias in (torch.zeros(3), torch.zeros(2).half(), torch.zeros(1, 2)):
        with pytest.raises(RuntimeError, match="bias_relu_pool2d: expected bias"):
            call(torch.zeros(1, 2, 4, 4), bias, *geometry)

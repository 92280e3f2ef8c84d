"""Unpooling and convolution in one: backends against the definition, the definition against the two steps."""

import pytest
import torch
from convolution_cases import CHECKS, check_unpool_conv2d, parameters
from kernel_cases import CASES, in_layout
from ops.grid import every_case, every_dtype, every_layout
from torch.nn.functional import conv2d

import wwae
from wwae.ops import switch_pool2d, switch_unpool2d, unpool_conv2d
from wwae.reference.unpool_conv2d import unpool_conv2d_reference

_, VARIANTS = CHECKS["unpool_conv2d"]


@every_case
@every_dtype
@every_layout
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last):
    for arguments in VARIANTS:
        check_unpool_conv2d(kernel("unpool_conv2d"), case, dtype, channels_last, *arguments)


@pytest.mark.parametrize("case", [CASES["2x2 odd"], CASES["3x3 stride 2 padding ceil"], CASES["rectangle dilated"]], ids=str)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_the_definition_is_an_unpooling_and_a_convolution(case, backend, activation):
    values, switches = switch_pool2d(torch.randn(case.shape, dtype=torch.float64), *case.window, case.ceil_mode)
    for convolution in {variant[0] for variant in VARIANTS}:
        weight, bias = parameters(6, values.shape[1], convolution, torch.float64)
        with wwae.use_backend(backend):
            actual = unpool_conv2d(values, switches, weight, bias, convolution.padding, activation)
        expected = conv2d(switch_unpool2d(values, switches), weight, bias, padding=convolution.padding)
        torch.testing.assert_close(actual, expected if activation is None else expected.relu(), rtol=1e-12, atol=1e-12)


def test_the_definition_adds_in_float32():
    offsets = torch.zeros(1, 512, 1, 1, dtype=torch.uint8)
    many = torch.ones(1, 512, 1, 1).bfloat16()
    window = ((1, 1), (1, 1), (0, 0), (1, 1), (1, 1))
    # 512 + 1 is no bfloat16, and neither is a sum that stops at 256.
    bias = torch.tensor([1.0]).bfloat16()
    assert unpool_conv2d_reference(many, offsets, many, bias, *window, (0, 0), False).item() == 512
    assert unpool_conv2d_reference(many, offsets, many, None, *window, (0, 0), False).item() == 512


@every_layout
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_random_numbers_agree_to_rounding(dtype, channels_last):
    values, switches = switch_pool2d(in_layout(torch.randn(2, 19, 24, 26).to(dtype), channels_last), 2)
    weight, bias = torch.randn(21, 19, 3, 3).to(dtype) / 13, torch.randn(21).to(dtype)
    actual = unpool_conv2d(values, switches, weight, bias, 1)
    exact = conv2d(switch_unpool2d(values, switches).double(), weight.double(), bias.double(), padding=1)
    assert (actual.double() - exact).abs().amax() <= 16 * torch.finfo(dtype).eps * exact.abs().amax()
    assert actual.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


@every_layout
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("window", [(2,), (3, 2, 1)], ids=["2x2", "3x3 stride 2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_equal_the_two_steps(dtype, window, activation, channels_last):
    values, switches = switch_pool2d(in_layout(torch.randn(3, 5, 13, 14).to(dtype), channels_last), *window)
    tensors = values, (torch.randn(6, 5, 3, 3) / 5).to(dtype), torch.randn(6).to(dtype)
    mine, other = ([t.detach().clone().requires_grad_() for t in tensors] for _ in range(2))
    actual = unpool_conv2d(mine[0], switches, *mine[1:], 1, activation)
    expected = conv2d(switch_unpool2d(other[0], switches), *other[1:], padding=1)
    expected = expected if activation is None else expected.relu()
    weight = torch.rand_like(expected)
    (actual * weight).sum().backward()
    (expected * weight).sum().backward()
    rounding = 60 * torch.finfo(dtype).eps
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=rounding, atol=rounding * b.grad.abs().max().item())
    assert mine[0].grad.stride() == mine[0].stride()


@pytest.mark.parametrize("activation", [None, "relu"])
def test_backward_keeps_no_unpooled_map(activation):
    values, switches = switch_pool2d(torch.randn(2, 3, 8, 8), 2)
    values, weight = values.requires_grad_(), torch.randn(4, 3, 3, 3, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = unpool_conv2d(values, switches, weight, None, 1, activation)
    expected = {t.data_ptr() for t in (values, weight, switches.offsets)} | ({y.data_ptr()} if activation else set())
    assert {t.data_ptr() for t in kept} == expected


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True)])
def test_only_gradients_that_are_wanted_are_made(wanted):
    values, switches = switch_pool2d(torch.randn(2, 3, 8, 8), 2)
    tensors = values, torch.randn(4, 3, 3, 3), torch.randn(4)
    for tensor, want in zip(tensors, wanted, strict=True):
        tensor.requires_grad_(want)
    unpool_conv2d(values, switches, *tensors[1:]).sum().backward()
    assert tuple(t.grad is not None for t in tensors) == wanted


def test_weights_of_any_layout_and_weights_that_alias():
    values, switches = switch_pool2d(torch.randn(2, 4, 9, 9, dtype=torch.float64), 2)
    base = torch.randn(4, 4, 3, 3, dtype=torch.float64)
    for weight in (base.transpose(0, 1), base.flip((2, 3)), base[:1].expand(5, -1, -1, -1), values[:, :, 1:, 1:]):
        weight = weight.detach()
        dense = weight.clone(memory_format=torch.contiguous_format).requires_grad_()
        leaf = weight.requires_grad_()
        actual, expected = (unpool_conv2d(values, switches, w, None, 1, "relu") for w in (leaf, dense))
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
        actual.sum().backward()
        expected.sum().backward()
        torch.testing.assert_close(leaf.grad, dense.grad)


@pytest.mark.parametrize("shape", [(0, 3, 6, 6), (3, 6, 6)], ids=["empty batch", "unbatched"])
def test_empty_batch_and_unbatched(shape):
    values, switches = switch_pool2d(torch.randn(shape), 2)
    values, weight = values.requires_grad_(), torch.randn(5, 3, 3, 3, requires_grad=True)
    y = unpool_conv2d(values, switches, weight, None, 1, "relu")
    assert y.shape == (*shape[:-3], 5, 6, 6)
    y.sum().backward()
    assert values.grad.shape == values.shape
    assert weight.grad.shape == weight.shape


def test_maps_of_more_elements_than_an_int32_counts():
    values, switches = switch_pool2d(torch.empty(70, 64, 1024, 1024, device="meta", dtype=torch.bfloat16), 2)
    weight = torch.empty(64, 64, 3, 3, device="meta", dtype=torch.bfloat16, requires_grad=True)
    y = unpool_conv2d(values, switches, weight, None, 1)
    assert y.numel() > 2**31
    y.sum().backward()
    assert weight.grad.shape == weight.shape


def test_a_damaged_switch_writes_nothing():
    values, switches = switch_pool2d(torch.rand(1, 1, 4, 4), 2)
    switches.offsets.fill_(200)
    weight = torch.ones(1, 1, 1, 1, requires_grad=True)
    y = unpool_conv2d(values.requires_grad_(), switches, weight)
    y.sum().backward()
    assert y.count_nonzero() == values.grad.count_nonzero() == weight.grad.count_nonzero() == 0


def test_autocast_casts_as_for_any_convolution():
    layer = torch.nn.Conv2d(3, 4, 3)
    values, switches = switch_pool2d(torch.randn(1, 3, 8, 8), 2)
    with torch.autocast("cpu", torch.bfloat16):
        y = unpool_conv2d(values, switches, layer.weight, layer.bias)
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert layer.weight.grad.dtype == layer.bias.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"x": torch.zeros(1, 2, 3, 3).int()}, RuntimeError, r"expected x of dtype .* got torch.int32"),
        ({"x": torch.zeros(1, 2, 4, 4)}, RuntimeError, r"switches were recorded for \(1, 2, 3, 3\) but x has shape \(1, 2, 4, 4\)"),
        ({"switches": torch.zeros(1, 2, 3, 3)}, TypeError, "expected switches to be the Switches of a pooling, got Tensor"),
        ({"weight": torch.zeros(5, 3, 3, 3)}, RuntimeError, r"expected weight of shape \(O, 2, KH, KW\) for x with 2 channels"),
        ({"weight": torch.zeros(5, 2, 3, 3).half()}, RuntimeError, "expected weight of dtype torch.float32, got torch.float16"),
        ({"weight": torch.zeros(5, 2, 8, 3)}, RuntimeError, "Kernel size can't be greater than actual input size"),
        ({"bias": torch.zeros(2)}, RuntimeError, r"expected bias of shape \(5,\), got \(2,\)"),
        ({"conv_padding": (0, -1)}, RuntimeError, r"expected conv_padding >= 0, got \(0, -1\)"),
        ({"activation": "tanh"}, ValueError, "expected activation to be None or 'relu', got 'tanh'"),
    ],
)
def test_errors_name_argument_rule_and_value(arguments, error, words):
    _, switches = switch_pool2d(torch.zeros(1, 2, 6, 6), 2)
    given = {"x": torch.zeros(1, 2, 3, 3), "switches": switches, "weight": torch.zeros(5, 2, 3, 3), "bias": torch.zeros(5)}
    with pytest.raises(error, match=words) as caught:
        unpool_conv2d(**(given | arguments))
    assert str(caught.value).startswith("unpool_conv2d")

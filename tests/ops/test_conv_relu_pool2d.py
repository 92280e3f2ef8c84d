"""Convolution, ReLU and pooling in one: backends against the definition, the definition against PyTorch's chain."""

import pytest
import torch
from convolution_cases import CONVOLUTIONS, check_conv_relu_pool2d, parameters
from kernel_cases import CASES, Case, in_layout
from ops.grid import every_case, every_dtype, every_layout
from torch.nn.functional import conv2d, max_pool2d, relu

import wwae
from wwae.ops import conv_relu_pool2d, switch_pool2d
from wwae.ops._compositions import _CHUNK_BYTES
from wwae.reference.conv_relu_pool2d import conv_relu_pool2d_reference

every_convolution = pytest.mark.parametrize("convolution", CONVOLUTIONS, ids=str)


@every_case
@every_dtype
@every_layout
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last):
    for convolution in CONVOLUTIONS:
        check_conv_relu_pool2d(kernel("conv_relu_pool2d"), case, dtype, channels_last, convolution)


@every_convolution
@pytest.mark.parametrize("case", [CASES["2x2 odd ceil"], CASES["3x3 stride 2 padding ceil"], CASES["rectangle dilated"]], ids=str)
def test_the_definition_is_the_chain_of_pytorch(case, convolution):
    x = torch.randn(convolution.input_shape(case), dtype=torch.float64)
    weight, bias = parameters(6, x.shape[1], convolution, torch.float64)
    chain = relu(conv2d(x, weight, bias, *convolution.arguments))
    expected, indices = max_pool2d(chain, *case.window, case.ceil_mode, return_indices=True)
    for function in (conv_relu_pool2d, use_reference):
        values, switches = function(
            x, weight, bias, *case.window, case.ceil_mode, convolution.stride, convolution.padding, convolution.dilation,
            convolution.groups,
        )  # fmt: skip
        torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-12)
        assert torch.equal(switches.indices(), indices)
        assert switches.input_size == tuple(chain.shape[2:])


def use_reference(*arguments):
    with wwae.use_backend("reference"):
        return conv_relu_pool2d(*arguments)


def test_the_definition_adds_in_float32_and_rounds_before_it_compares():
    # 256 + 1 is 256 in bfloat16, so the two taps are equal and the first one wins; 1 / 256 survives only in a wide sum.
    weight = torch.ones(1, 1, 1, 1).bfloat16()
    for taps, bias, offset in (((0.0, 1.0), 256.0, 0), ((0.0, 1.0), 16.0, 1)):
        x = torch.tensor([[[list(taps)]]]).bfloat16()
        arguments = (x, weight, torch.tensor([bias]).bfloat16(), (1, 2), (1, 2), (0, 0), (1, 1), False, (1, 1), (0, 0), (1, 1), 1)
        assert conv_relu_pool2d_reference(*arguments)[1].item() == offset
    many = torch.ones(1, 512, 1, 1).bfloat16()
    arguments = (many, many, None, (1, 1), (1, 1), (0, 0), (1, 1), False, (1, 1), (0, 0), (1, 1), 1)
    assert conv_relu_pool2d_reference(*arguments)[0].item() == 512


@every_layout
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_random_numbers_agree_to_rounding_and_switches_but_at_near_ties(dtype, channels_last):
    x = in_layout(torch.randn(2, 19, 24, 26).to(dtype), channels_last)
    weight, bias = torch.randn(21, 19, 3, 3).to(dtype) / 13, torch.randn(21).to(dtype)
    values, switches = conv_relu_pool2d(x, weight, bias, 2, conv_padding=1)
    exact = relu(conv2d(x.double(), weight.double(), bias.double(), padding=1))
    expected, best = switch_pool2d(exact, 2)
    band = 16 * torch.finfo(dtype).eps * expected.abs().amax()
    assert (values.double() - expected).abs().amax() <= band
    # At its switch the exact map is as large as anywhere in the window, up to the band.
    chosen = exact.flatten(-2).gather(-1, switches.indices().flatten(-2)).view_as(expected)
    assert (expected - chosen).amax() <= 2 * band
    assert (switches.offsets != best.offsets).float().mean() < 0.05
    assert values.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


@every_layout
@pytest.mark.parametrize("window", [(2,), (3, 2, 1)], ids=["2x2", "3x3 stride 2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_equal_pytorch(dtype, window, channels_last):
    tensors = torch.randn(3, 5, 13, 14), torch.randn(6, 5, 3, 3) / 5, torch.randn(6)
    mine = [(in_layout(t, channels_last) if t.dim() == 4 else t).to(dtype).requires_grad_() for t in tensors]
    other = [t.detach().clone().requires_grad_() for t in mine]
    values, _ = conv_relu_pool2d(*mine, *window, conv_padding=1)
    expected = max_pool2d(relu(conv2d(*other, padding=1)), *window)
    weight = torch.rand_like(expected)
    (values * weight).sum().backward()
    (expected * weight).sum().backward()
    rounding = 60 * torch.finfo(dtype).eps
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=rounding, atol=rounding * b.grad.abs().max().item())
        assert a.grad.is_contiguous(
            memory_format=torch.channels_last if channels_last and a.dim() == 4 else torch.contiguous_format
        )


def test_backward_keeps_input_weights_values_and_offsets():
    x, weight, bias = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3, requires_grad=True), torch.randn(4, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        values, switches = conv_relu_pool2d(x, weight, bias, 2, conv_padding=1)
    assert {t.data_ptr() for t in kept} == {t.data_ptr() for t in (x, weight, values, switches.offsets)}


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True), (False, True, True)])
def test_only_gradients_that_are_wanted_are_made(wanted):
    tensors = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3), torch.randn(4)
    values, _ = conv_relu_pool2d(*(t.requires_grad_(want) for t, want in zip(tensors, wanted, strict=True)), 2)
    values.sum().backward()
    assert tuple(t.grad is not None for t in tensors) == wanted


def test_many_images_are_convolved_as_many_at_once_as_stay_in_cache(monkeypatch):
    """Chunk by chunk, the last one short, and one by one where an image alone is too large."""
    seen = []
    convolve = torch.conv2d
    monkeypatch.setattr(torch, "conv2d", lambda x, *rest: (seen.append(len(x)), convolve(x, *rest))[1])
    for channels, size, batch, chunks in ((8, 64, 163, [64, 64, 35]), (40, 256, 3, [1, 1, 1]), (8, 64, 10, [10])):
        assert batch == 10 or batch * channels * size**2 * 4 > _CHUNK_BYTES
        x, weight = torch.randn(batch, 1, size, size), torch.randn(channels, 1, 1, 1)
        seen.clear()
        values, switches = conv_relu_pool2d(x, weight, None, 4)
        assert seen == chunks
        expected, indices = max_pool2d(relu(x * weight.view(1, -1, 1, 1)), 4, return_indices=True)
        torch.testing.assert_close(values, expected)
        assert torch.equal(switches.indices()[values > 0], indices[values > 0])


def test_weights_of_any_layout_and_weights_that_alias():
    x = torch.randn(2, 4, 9, 9, dtype=torch.float64)
    base = torch.randn(4, 4, 3, 3, dtype=torch.float64)
    for weight in (
        base.transpose(0, 1),
        base.flip(2)[::2],
        torch.randn(8, 4, 6, 3).double()[1::2, :, ::2],
        base[:1].expand(5, -1, -1, -1),  # all outputs of one memory
        base.contiguous(memory_format=torch.channels_last),
        x[:, :, 2:5, 2:5],  # a part of the input
    ):
        weight = weight.detach()
        dense = weight.clone(memory_format=torch.contiguous_format).requires_grad_()
        expected, same = conv_relu_pool2d(x, dense, None, 2)
        leaf = weight.requires_grad_()
        values, switches = conv_relu_pool2d(x, leaf, None, 2)
        torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-12)
        assert switches == same
        values.sum().backward()
        expected.sum().backward()
        torch.testing.assert_close(leaf.grad, dense.grad)


def test_weight_and_input_may_be_one_tensor():
    x = torch.randn(3, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    conv_relu_pool2d(x, x, None, 2, conv_padding=1)[0].sum().backward()
    first, second = (x.detach().clone().requires_grad_() for _ in range(2))
    conv_relu_pool2d(first, second, None, 2, conv_padding=1)[0].sum().backward()
    torch.testing.assert_close(x.grad, first.grad + second.grad)


@pytest.mark.parametrize("shape", [(0, 3, 6, 6), (3, 6, 6)], ids=["empty batch", "unbatched"])
@pytest.mark.parametrize("groups", [1, 3])
def test_empty_batch_and_unbatched(shape, groups):
    x, weight = torch.randn(shape, requires_grad=True), torch.randn(6, 3 // groups, 3, 3, requires_grad=True)
    values, switches = conv_relu_pool2d(x, weight, None, 2, groups=groups)
    assert values.shape == switches.shape == (*shape[:-3], 6, 2, 2)
    values.sum().backward()
    assert x.grad.shape == shape
    assert weight.grad.shape == weight.shape
    if shape[0] == 0:
        assert weight.grad.count_nonzero() == 0


def test_maps_of_more_elements_than_an_int32_counts():
    x = torch.empty(70, 64, 1024, 1024, device="meta", dtype=torch.bfloat16)
    weight = torch.empty(64, 64, 3, 3, device="meta", dtype=torch.bfloat16, requires_grad=True)
    assert x.numel() > 2**31
    values, switches = conv_relu_pool2d(x, weight, None, 2, conv_padding=1)
    assert values.shape == switches.shape == (70, 64, 512, 512)
    values.sum().backward()
    assert weight.grad.shape == weight.shape


def test_nan_spreads_and_its_gradient_passes():
    x = torch.ones(1, 1, 4, 4)
    x[0, 0, 1, 1] = torch.nan
    values, switches = conv_relu_pool2d(x, torch.ones(1, 1, 1, 1), torch.tensor([-2.0]), 2)
    assert values.isnan().flatten().tolist() == [True, False, False, False]
    assert switches.offsets.flatten().tolist() == [3, 0, 0, 0]
    assert values[0, 0, 1, 1] == 0


def test_autocast_casts_as_for_any_convolution():
    layer = torch.nn.Conv2d(3, 4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        values, _ = conv_relu_pool2d(torch.randn(1, 3, 8, 8), layer.weight, layer.bias, 2)
        wide, _ = conv_relu_pool2d(torch.randn(1, 3, 8, 8).double(), layer.weight.double(), None, 2)
    assert values.dtype == torch.bfloat16
    assert wide.dtype == torch.float64
    values.sum().backward()
    assert layer.weight.grad.dtype == layer.bias.grad.dtype == torch.float32


def test_inputs_are_left_alone():
    tensors = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3), torch.randn(4)
    copies = [t.clone() for t in tensors]
    conv_relu_pool2d(*tensors, 2)
    assert all(torch.equal(t, copy) for t, copy in zip(tensors, copies, strict=True))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"x": torch.zeros(4, 4)}, RuntimeError, r"expected x of shape \(N, C, H, W\) or \(C, H, W\), got \(4, 4\)"),
        ({"x": torch.zeros(1, 2, 6, 6).int()}, RuntimeError, r"expected x of dtype .* got torch.int32"),
        ({"x": torch.zeros(1, 3, 6, 6)}, RuntimeError, r"expected weight of shape \(O, 3, KH, KW\) for x with 3 channels,"),
        ({"groups": 2}, RuntimeError, r"expected weight of shape \(O, 1, KH, KW\) .* got \(5, 2, 3, 3\)"),
        ({"x": torch.zeros(1, 4, 6, 6), "groups": 2}, RuntimeError, "output channels of weight divisible by groups=2, got 5"),
        ({"groups": 0}, RuntimeError, "expected groups >= 1, got 0"),
        ({"groups": 1.0}, TypeError, "expected groups to be an int, got 1.0"),
        ({"weight": None}, TypeError, "expected weight to be a tensor, got NoneType"),
        (
            {"weight": torch.zeros(5, 2, 3)},
            RuntimeError,
            r"I / groups, KH, KW\), each at least 1, got \(5, 2, 3\)",
        ),
        ({"weight": torch.zeros(5, 2, 3, 3).double()}, RuntimeError, "expected weight of dtype torch.float32, got torch.float64"),
        ({"weight": torch.zeros(5, 2, 3, 3, device="meta")}, RuntimeError, "expected weight on cpu, got meta"),
        ({"weight": torch.zeros(5, 2, 7, 7)}, RuntimeError, "Kernel size can't be greater than actual input size"),
        ({"bias": torch.zeros(2)}, RuntimeError, r"expected bias of shape \(5,\), got \(2,\)"),
        ({"bias": torch.zeros(5).half()}, RuntimeError, "expected bias of dtype torch.float32, got torch.float16"),
        ({"bias": 0.0}, TypeError, "expected bias to be a tensor, got float"),
        ({"conv_padding": -1}, RuntimeError, r"expected conv_padding >= 0, got \(-1, -1\)"),
        ({"conv_stride": (1, 0)}, RuntimeError, r"expected conv_stride >= 1, got \(1, 0\)"),
        ({"conv_dilation": "2"}, TypeError, "expected conv_dilation to be an int or two ints"),
        ({"kernel_size": 5}, RuntimeError, r"Output size is too small: expected a convolved map .* got \(4, 4\)"),
        ({"padding": 2}, RuntimeError, "pad should be at most half of effective kernel size"),
        ({"ceil_mode": 1}, TypeError, "expected ceil_mode to be True or False, got 1"),
    ],
)
def test_errors_name_argument_rule_and_value(arguments, error, words):
    given = {"x": torch.zeros(1, 2, 6, 6), "weight": torch.zeros(5, 2, 3, 3), "bias": torch.zeros(5), "kernel_size": 2}
    with pytest.raises(error, match=words) as caught:
        conv_relu_pool2d(**(given | arguments))
    assert str(caught.value).startswith("conv_relu_pool2d")


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_a_forced_backend_that_cannot_run_raises():
    x, weight = torch.zeros(1, 2, 6, 6), torch.zeros(5, 2, 3, 3)
    for backend in ("triton", "cuda"):
        with pytest.raises(RuntimeError, match=f"backend '{backend}' cannot run here"), wwae.use_backend(backend):
            conv_relu_pool2d(x, weight, None, 2)


def test_direct_calls_are_refused_before_memory_is_touched():
    window = ((2, 2), (2, 2), (0, 0), (1, 1), False)
    convolution = ((1, 1), (0, 0), (1, 1), 1)
    for weight in (torch.zeros(5, 3, 3, 3), torch.zeros(5, 2, 9, 9)):
        with pytest.raises(RuntimeError):
            torch.ops.wwae.conv_relu_pool2d(torch.zeros(1, 2, 6, 6), weight, None, *window, *convolution)


def test_one_case_of_every_check_can_fail():
    """A kernel that forgets to round, or the bias, is seen."""
    case = Case((1, 4, 8, 8), (2, 2), (2, 2))

    def forgets_the_bias(x, weight, _bias, *rest):
        return conv_relu_pool2d_reference(x, weight, None, *rest)

    with pytest.raises(AssertionError):
        check_conv_relu_pool2d(forgets_the_bias, case, torch.float32, False, CONVOLUTIONS[0])

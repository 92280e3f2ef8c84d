"""Batch norm, ReLU and pooling in one: kernels against the reference, the reference against PyTorch's chain."""

import pytest
import torch
from fused_cases import check_batch_norm_relu_pool2d
from kernel_cases import in_layout
from ops.grid import every_case, every_dtype, every_layout
from torch.nn.functional import batch_norm, max_pool2d, relu

import wwae
from wwae.ops import batch_norm_relu_pool2d
from wwae.reference.relu import channel_statistics

GEOMETRY = ((2, 2), (2, 2), (0, 0), (1, 1), False)


@every_case
@every_dtype
@every_layout
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last):
    check_batch_norm_relu_pool2d(kernel("batch_norm_relu_pool2d"), case, dtype, channels_last)


def statistics_of(kernel, x):
    ones = torch.ones(x.shape[1], dtype=x.dtype)
    return kernel("batch_norm_relu_pool2d")(x, ones, ones, None, None, 0.0, *GEOMETRY)[2:]


@every_layout
@pytest.mark.parametrize("mean", [0.0, 30.0, 1e4, -1e6])
def test_a_large_mean_costs_no_digits(kernel, mean, channels_last):
    """One pass over x and x * x in float32 has no correct digit of the variance left at 1e4."""
    x = in_layout(mean + torch.randn(6, 5, 40, 37), channels_last)
    expected = channel_statistics(x)
    for actual, wanted in zip(statistics_of(kernel, x), expected, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-5, atol=1e-6)


@every_layout
@every_dtype
def test_an_outlier_first_costs_no_digits(kernel, dtype, channels_last):
    """The first element of a channel is what distances are measured from."""
    x = torch.randn(4, 3, 50, 50).to(dtype)
    x[0, :, 0, 0] = 3e4
    for actual, wanted in zip(statistics_of(kernel, in_layout(x, channels_last)), channel_statistics(x), strict=True):
        torch.testing.assert_close(actual, wanted, rtol=3e-5, atol=3e-5)


def test_constant_channels_have_variance_zero(kernel):
    x = torch.full((2, 3, 4, 6), 0.1)
    mean, variance = statistics_of(kernel, x)
    torch.testing.assert_close(mean, x[0, :, 0, 0])
    assert (variance >= 0).all()
    assert (variance < 1e-15).all()


@every_layout
def test_statistics_do_not_depend_on_threads(channels_last):
    x = in_layout(torch.randn(5, 7, 60, 61), channels_last)
    one = torch.ones(7)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            results.append(torch.ops.wwae.batch_norm_relu_pool2d(x, one, one, None, None, 1e-5, *GEOMETRY))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@every_layout
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("window", [(2,), (3, 2, 1)], ids=["2x2", "3x3 stride 2"])
@pytest.mark.parametrize("training", [True, False])
def test_equals_the_chain_of_pytorch(dtype, window, channels_last, training):
    x = in_layout((torch.randn(3, 5, 24, 27) * 2 + 1).to(dtype), channels_last).requires_grad_()
    weight, bias = (torch.randn(5).requires_grad_() for _ in range(2))
    running = torch.randn(5), torch.rand(5)
    other, other_weight, other_bias = (t.detach().clone().requires_grad_() for t in (x, weight, bias))
    other_running = tuple(t.clone() for t in running)

    values, _ = batch_norm_relu_pool2d(x, *running, weight, bias, training, 0.3, 1e-3, *window)
    # In float32 throughout, so that what is compared is the operation and not PyTorch's rounding.
    chain = batch_norm(other.float(), *other_running, other_weight, other_bias, training, 0.3, 1e-3)
    expected = max_pool2d(relu(chain.to(dtype)), *window)
    precision = 1e-5 if dtype == torch.float32 else torch.finfo(dtype).eps
    torch.testing.assert_close(values, expected, rtol=precision, atol=precision)
    for actual, wanted in zip(running, other_running, strict=True):
        torch.testing.assert_close(actual, wanted)

    gradient = torch.rand_like(expected)
    (values * gradient).sum().backward()
    (expected * gradient).sum().backward()
    assert x.grad.stride() == x.stride()
    # A near tie that rounds the other way sends its gradient to another tap.
    near = ((x.grad - other.grad).abs() > 0.05).float().mean()
    assert near < (1e-4 if dtype == torch.float32 else 0.02)
    tolerance = {"rtol": 1e-4, "atol": 1e-3} if dtype == torch.float32 else {"rtol": 0.05, "atol": 0.5}
    torch.testing.assert_close(weight.grad, other_weight.grad, **tolerance)
    torch.testing.assert_close(bias.grad, other_bias.grad, **tolerance)
    if dtype == torch.float32:
        torch.testing.assert_close(x.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_running_statistics_follow_pytorch_over_batches():
    running, expected = (torch.zeros(3), torch.ones(3)), (torch.zeros(3), torch.ones(3))
    for momentum in (0.1, 0.5, 1.0, 0.0):
        x = torch.randn(4, 3, 5, 6) + 2
        batch_norm_relu_pool2d(x, *running, None, None, True, momentum, 1e-5, 2)
        batch_norm(x, *expected, None, None, True, momentum, 1e-5)
        for actual, wanted in zip(running, expected, strict=True):
            torch.testing.assert_close(actual, wanted, rtol=1e-6, atol=1e-7)
    before = tuple(t.clone() for t in running)
    batch_norm_relu_pool2d(x, *running, None, None, False, 0.1, 1e-5, 2)
    batch_norm_relu_pool2d(x[:0], *running, None, None, True, 0.1, 1e-5, 2)
    assert all(torch.equal(a, b) for a, b in zip(running, before, strict=True))


def test_missing_parameters_stand_for_one_and_zero():
    x = torch.randn(2, 3, 6, 6)
    for training, running in ((True, (None, None)), (False, (torch.randn(3), torch.rand(3)))):
        bare, _ = batch_norm_relu_pool2d(x, *running, None, None, training, 0.1, 1e-5, 2)
        given, _ = batch_norm_relu_pool2d(x, *running, torch.ones(3), torch.zeros(3), training, 0.1, 1e-5, 2)
        assert torch.equal(bare, given)


@pytest.mark.parametrize("training", [True, False])
def test_backward_keeps_x_and_nothing_else_of_its_size(training):
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    weight, bias = torch.ones(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        values, switches = batch_norm_relu_pool2d(x, torch.zeros(4), torch.ones(4), weight, bias, training, 0.1, 1e-5, 2)
    assert [t.data_ptr() for t in kept if t.shape == x.shape] == [x.data_ptr()]
    pooled = {t.data_ptr() for t in kept if t.shape == values.shape}
    assert pooled == {values.data_ptr(), switches.offsets.data_ptr()}
    assert all(t.shape in (x.shape, values.shape, (4,)) for t in kept)


def test_16_bit_maps_have_float32_statistics_and_any_parameters():
    x = torch.randn(2, 3, 6, 6).bfloat16()
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        weight, bias = torch.ones(3, dtype=dtype, requires_grad=True), torch.zeros(3, dtype=dtype, requires_grad=True)
        running = torch.zeros(3, dtype=dtype), torch.ones(3, dtype=dtype)
        values, _ = batch_norm_relu_pool2d(x, *running, weight, bias, True, 0.1, 1e-5, 2)
        values.float().square().sum().backward()
        assert values.dtype == torch.bfloat16
        assert weight.grad.dtype == bias.grad.dtype == running[0].dtype == dtype
        results.append(values)
    assert torch.equal(*results)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (3, 4, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_empty_batch_and_unbatched(shape, training):
    x, weight = torch.randn(shape, requires_grad=True), torch.ones(3, requires_grad=True)
    values, switches = batch_norm_relu_pool2d(x, torch.zeros(3), torch.ones(3), weight, None, training, 0.1, 1e-5, 2)
    assert values.shape == switches.shape == (*shape[:-2], 2, 2)
    values.sum().backward()
    assert x.grad.shape == shape
    assert weight.grad.shape == (3,)
    assert weight.grad.isfinite().all()


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_has_gradients_of_zero(backend, training):
    x = torch.zeros(0, 3, 4, 4, requires_grad=True)
    weight, bias = (torch.ones(3, requires_grad=True) for _ in range(2))
    with wwae.use_backend(backend):
        values, _ = batch_norm_relu_pool2d(x, torch.zeros(3), torch.ones(3), weight, bias, training, 0.1, 1e-5, 2)
        values.sum().backward()
    assert weight.grad.tolist() == bias.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"x": torch.zeros(4, 4)}, RuntimeError, r"expected x of shape \(N, C, H, W\) or \(C, H, W\), got \(4, 4\)"),
        ({"weight": torch.zeros(3)}, RuntimeError, r"expected weight of shape \(2,\), one number a channel of x, got \(3,\)"),
        ({"bias": torch.zeros(2).half()}, RuntimeError, r"expected bias of dtype torch.float32 for x of torch.float32, got"),
        ({"running_mean": torch.zeros(5)}, RuntimeError, r"expected running_mean of shape \(2,\), .* got \(5,\)"),
        ({"running_var": torch.zeros(2, 2)}, RuntimeError, r"expected running_var of shape \(2,\)"),
        ({"running_var": None}, ValueError, "expected running_mean and running_var to be both given or both None"),
        (
            {"running_mean": None, "running_var": None, "training": False},
            ValueError,
            "expected running_mean and running_var in evaluation, got None",
        ),
        ({"x": torch.zeros(1, 2, 1, 1), "kernel_size": 1}, ValueError, "x must have more than one value per channel in training"),
        ({"x": torch.zeros(2, 1, 1), "kernel_size": 1}, ValueError, "Expected more than 1 value per channel when training"),
        ({"eps": -1e-5}, ValueError, "expected eps >= 0 and finite, got -1e-05"),
        ({"eps": float("nan")}, ValueError, "expected eps >= 0 and finite, got nan"),
        ({"momentum": None}, TypeError, "expected momentum to be a number, got None"),
        ({"training": 1}, TypeError, "expected training to be True or False, got 1"),
        ({"kernel_size": 5}, RuntimeError, "Output size is too small"),
    ],
)
def test_errors_name_argument_rule_and_value(arguments, error, words):
    given = {
        "x": torch.zeros(1, 2, 4, 4), "running_mean": torch.zeros(2), "running_var": torch.ones(2), "weight": None, "bias": None,
        "training": True, "momentum": 0.1, "eps": 1e-5, "kernel_size": 2,
    }  # fmt: skip
    with pytest.raises(error, match=words) as caught:
        batch_norm_relu_pool2d(**(given | arguments))
    assert str(caught.value).startswith("batch_norm_relu_pool2d")


def test_direct_calls_are_refused_before_memory_is_touched():
    call = torch.ops.wwae.batch_norm_relu_pool2d
    x, one = torch.zeros(1, 2, 4, 4), torch.ones(2)
    for arguments in ((torch.ones(3), one, None, None), (one, one.half(), None, None), (one, one, one, None), (one, one, one, x)):
        with pytest.raises(RuntimeError, match="batch_norm_relu_pool2d: expected"):
            call(x, *arguments, 1e-5, *GEOMETRY)

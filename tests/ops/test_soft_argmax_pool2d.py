"""Soft-argmax pooling: the definition against closed forms, kernels against the definition, and what the docstring promises."""

import doctest
import importlib
import math

import pytest
import torch
from kernel_cases import CASES
from ops.grid import distinct, every_case, every_dtype, every_layout
from soft_cases import check_soft_argmax_pool2d

import wwae
from wwae.ops import soft_argmax_pool2d
from wwae.reference.soft_argmax_pool2d import soft_argmax_pool2d_reference, soft_argmax_pool2d_tangent
from wwae.reference.taps import add_windows, window_taps
from wwae.reference.window import accumulation_dtype

GEOMETRY = {"kernel_size": 3, "stride": 2, "padding": 1}


def smooth(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def window(*values, dtype=torch.float64):
    """One 2x2 window."""
    return torch.tensor(values, dtype=dtype).view(1, 1, 2, 2)


@pytest.mark.parametrize("beta", [0.0, 0.7, 3.0])
def test_definition_equals_equations_3_and_4(beta):
    x = smooth(1, 1, 5, 7)
    what, where = soft_argmax_pool2d_reference(x, torch.full((1, 1), beta, dtype=torch.float64), (3, 4), (2, 3), (1, 2))
    positions = [(-1, 0, 1), (-1, -1 / 3, 1 / 3, 1)]
    for oh in range(what.shape[2]):
        for ow in range(what.shape[3]):
            total = mean = column = row = 0.0
            for r in range(3):
                for c in range(4):
                    h, w = oh * 2 - 1 + r, ow * 3 - 2 + c
                    if 0 <= h < 5 and 0 <= w < 7:
                        z = x[0, 0, h, w].item()
                        power = math.exp(beta * z)
                        total += power
                        mean += power * z
                        column += power * positions[1][c]
                        row += power * positions[0][r]
            assert what[0, 0, oh, ow].item() == pytest.approx(mean / total, rel=1e-12, abs=1e-14)
            assert where[0, 0, oh, ow].tolist() == pytest.approx([column / total, row / total], rel=1e-12, abs=1e-14)


@every_case
def test_windows_are_taken_apart_and_added_by_transposes(case):
    windows = ((case.shape[2] - 1) // case.stride[0] + 1, (case.shape[3] - 1) // case.stride[1] + 1)
    x = smooth(*case.shape)
    taps = window_taps(x, windows, case.kernel_size, case.stride, case.padding)
    other = torch.randn_like(taps)
    back = add_windows(other, case.stride, case.padding, case.shape[2:])
    torch.testing.assert_close((taps * other).sum(), (x * back).sum())


def test_the_definition_has_the_derivatives_of_its_formula():
    x, beta = smooth(2, 2, 5, 6).requires_grad_(), torch.tensor([[0.5, 2.0], [1.0, 0.0]]).double().requires_grad_()
    geometry = (3, 3), (2, 2), (1, 1)
    assert torch.autograd.gradcheck(lambda x, b: soft_argmax_pool2d_reference(x, b.abs(), *geometry), (x, beta + 0.1))
    directions = torch.randn_like(x), torch.randn_like(beta)
    tangents = soft_argmax_pool2d_tangent(x, beta, *directions, *geometry)
    _, expected = torch.func.jvp(lambda x, b: soft_argmax_pool2d_reference(x, b, *geometry), (x, beta), directions)
    torch.testing.assert_close(tangents, expected)


@every_case
@every_dtype
@every_layout
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last):
    check_soft_argmax_pool2d(kernel("soft_argmax_pool2d"), case, dtype, channels_last)


def test_beta_0_is_the_mean_and_a_large_one_the_maximum():
    x = distinct(2, 3, 8, 8)
    what, where = soft_argmax_pool2d(x, 2, 0.0)
    torch.testing.assert_close(what, torch.nn.functional.avg_pool2d(x, 2))
    assert torch.equal(where, torch.zeros(2, 3, 4, 4, 2, dtype=torch.float64))
    what, where = soft_argmax_pool2d(x, 4, 1000.0)
    values, switches = wwae.ops.switch_pool2d(x, 4)
    torch.testing.assert_close(what, values, rtol=0, atol=1e-3)
    offsets = switches.offsets.long()
    torch.testing.assert_close(where[..., 0], (offsets % 4).double() * 2 / 3 - 1, rtol=0, atol=1e-2)
    torch.testing.assert_close(where[..., 1], (offsets // 4).double() * 2 / 3 - 1, rtol=0, atol=1e-2)


@every_dtype
@every_layout
@pytest.mark.parametrize("beta", [0.0, 1.0, 1000.0])
def test_extreme_values_are_safe(dtype, channels_last, beta):
    x = torch.tensor([1e4, -1e4, 9984.0, 1e-4]).repeat(24).view(1, 6, 4, 4)[:, :, :, torch.randperm(4)].to(dtype)
    x = x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format).requires_grad_()
    sharpness = torch.tensor(beta, dtype=accumulation_dtype(dtype), requires_grad=True)
    what, where = soft_argmax_pool2d(x, 2, sharpness)
    pooled = soft_argmax_pool2d(x.detach().double(), 2, beta)
    torch.testing.assert_close(what, pooled[0].to(dtype), rtol=2 * torch.finfo(dtype).eps, atol=1e-2)
    torch.testing.assert_close(where, pooled[1].to(where.dtype), rtol=0, atol=1e-5)
    (what.float().sum() + where.sum()).backward()
    assert x.grad.isfinite().all()
    assert sharpness.grad.isfinite()
    if beta == 1000.0:
        assert torch.equal(what, torch.nn.functional.max_pool2d(x.detach(), 2))


@pytest.mark.parametrize("beta", [0.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
@pytest.mark.parametrize(
    ("values", "what", "where"),
    [
        ((1, math.nan, 2, 3), math.nan, (math.nan, math.nan)),
        ((1, math.inf, 2, 3), math.inf, (1, -1)),
        ((math.inf, 0, 2, math.inf), math.inf, (0, 0)),
        ((math.inf, -math.inf, 2, 3), math.inf, (-1, -1)),
        ((-math.inf, -math.inf, -math.inf, 3), 3, (1, 1)),
        ((-math.inf,) * 4, -math.inf, (0, 0)),
    ],
)
def test_nan_and_infinities(values, what, where, beta, dtype):
    x = window(*values, dtype=dtype).requires_grad_()
    for backend in ("reference", "auto"):
        with wwae.use_backend(backend):
            actual = soft_argmax_pool2d(x, 2, beta)
            torch.testing.assert_close(actual[0].item(), float(what), equal_nan=True)
            torch.testing.assert_close(actual[1].flatten().tolist(), list(map(float, where)), equal_nan=True)
            (gradient,) = torch.autograd.grad(actual[0].sum() + actual[1].sum(), x)
            assert gradient.isnan().all() if math.isnan(what) else gradient.isfinite().all()


def test_padding_has_no_weight():
    x = torch.full((1, 1, 2, 2), -math.inf)
    x[0, 0, 0, 0] = -5.0
    what, where = soft_argmax_pool2d(x, 3, 1.0, stride=1, padding=1)
    assert what[0, 0, 0, 0] == -5
    assert where[0, 0, 0, 0].tolist() == [0, 0]
    what, _ = soft_argmax_pool2d(torch.ones(1, 1, 2, 2), 3, 0.0, stride=1, padding=1)
    assert torch.equal(what, torch.ones(1, 1, 2, 2))


def test_a_window_of_one_tap_is_in_the_middle():
    x = smooth(1, 2, 3, 3)
    what, where = soft_argmax_pool2d(x, 1, 5.0)
    assert torch.equal(what, x)
    assert not where.any()
    assert soft_argmax_pool2d(x, (1, 3), 1000.0)[1][..., 1].eq(0).all()


def test_each_channel_has_its_own_beta():
    x = smooth(2, 3, 6, 6)
    betas = [0.0, 1.5, 40.0]
    what, where = soft_argmax_pool2d(x, 2, torch.tensor(betas))
    for channel, beta in enumerate(betas):
        one = soft_argmax_pool2d(x[:, channel : channel + 1], 2, torch.tensor(beta))
        torch.testing.assert_close(what[:, channel], one[0][:, 0])
        torch.testing.assert_close(where[:, channel], one[1][:, 0])


@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_gradient_in_beta_has_the_shape_and_dtype_of_beta(shape):
    beta = torch.full(shape, 0.8, dtype=torch.float32, requires_grad=True)
    x = smooth(2, 3, 7, 7).bfloat16()
    what, where = soft_argmax_pool2d(x, beta=beta, **GEOMETRY)
    (what.float().square().sum() + where.square().sum()).backward()
    assert beta.grad.shape == shape
    step = 1e-4
    loss = lambda b: sum(t.square().sum() for t in soft_argmax_pool2d(x.double(), beta=b, **GEOMETRY)).item()  # noqa: E731
    assert beta.grad.sum().item() == pytest.approx((loss(0.8 + step) - loss(0.8 - step)) / (2 * step), rel=2e-2)


@every_layout
@pytest.mark.parametrize("arguments", [GEOMETRY, {"kernel_size": 2}, {"kernel_size": (2, 3), "stride": (3, 1)}])
def test_gradcheck_in_x_and_beta(arguments, channels_last):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = smooth(2, 3, 6, 6).contiguous(memory_format=layout).requires_grad_()
    beta = torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64, requires_grad=True)
    function = lambda x, b: soft_argmax_pool2d(x, beta=b, **arguments)  # noqa: E731
    assert torch.autograd.gradcheck(function, (x, beta), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(function, (x, beta), check_fwd_over_rev=True)


def test_function_transforms_over_beta():
    x = smooth(2, 3, 4, 4)
    betas = torch.tensor([[0.0, 0.5, 1.0], [2.0, 3.0, 4.0]], dtype=torch.float64)
    mapped = torch.func.vmap(lambda b: soft_argmax_pool2d(x, 2, b))(betas)
    for index, beta in enumerate(betas):
        torch.testing.assert_close((mapped[0][index], mapped[1][index]), soft_argmax_pool2d(x, 2, beta))
    loss = lambda b: soft_argmax_pool2d(x, 2, b)[1].square().sum()  # noqa: E731
    leaf = betas[1].clone().requires_grad_()
    expected = torch.autograd.functional.hessian(loss, leaf)
    torch.testing.assert_close(torch.func.hessian(loss)(betas[1]), expected)
    torch.testing.assert_close(torch.func.jacfwd(loss)(betas[1]), torch.func.jacrev(loss)(betas[1]))


def test_backward_keeps_the_input_and_beta_alone():
    x, kept = torch.randn(2, 3, 8, 8, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        soft_argmax_pool2d(x, 2, 3.0)
    assert sum(t.untyped_storage().nbytes() for t in kept) == x.nbytes + 4


def test_unbatched_empty_and_strided():
    x = torch.randn(3, 6, 6)
    what, where = soft_argmax_pool2d(x, 2, 1.0)
    batched = soft_argmax_pool2d(x.unsqueeze(0), 2, 1.0)
    assert torch.equal(what, batched[0][0])
    assert torch.equal(where, batched[1][0])
    what, where = soft_argmax_pool2d(torch.zeros(0, 3, 6, 6), 2, 1.0)
    assert what.shape == (0, 3, 3, 3)
    assert where.shape == (0, 3, 3, 3, 2)
    strided = torch.randn(2, 3, 12, 12)[:, :, ::2, 1::2]
    assert torch.equal(soft_argmax_pool2d(strided, 3, 1.0)[1], soft_argmax_pool2d(strided.contiguous(), 3, 1.0)[1])


def test_threads_do_not_change_the_result():
    x = torch.randn(3, 33, 37, 23)
    results, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            leaf, beta = x.clone().requires_grad_(), torch.tensor(2.0, requires_grad=True)
            what, where = soft_argmax_pool2d(leaf, beta=beta, **GEOMETRY)
            (what.sum() + where.square().sum()).backward()
            results.append((what, where, leaf.grad, beta.grad))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_bad_beta_that_nobody_read_makes_its_channel_nan(kernel):
    case = CASES["2x2 odd"]
    x = torch.randn(case.shape)
    beta = torch.tensor([1.0, -1.0, math.inf]).expand(2, 3)
    what, where = kernel("soft_argmax_pool2d")(x, beta, (2, 2), (2, 2), (0, 0))
    for result in (what, where):
        assert result[:, 0].isfinite().all()
        assert result[:, 1:].isnan().all()


def test_compiled_code_does_not_look_at_beta():
    torch.compiler.reset()
    compiled = torch.compile(lambda x, b: soft_argmax_pool2d(x, 2, b), fullgraph=True, backend="aot_eager")
    x, beta = torch.randn(1, 2, 4, 4), torch.tensor([1.0, 2.0])
    for actual, expected in zip(compiled(x, beta), soft_argmax_pool2d(x, 2, beta), strict=True):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"beta": -1.0}, ValueError, "expected beta >= 0 and finite, got -1.0"),
        ({"beta": math.nan}, ValueError, "expected beta >= 0 and finite, got nan"),
        ({"beta": math.inf}, ValueError, "expected beta >= 0 and finite, got inf"),
        ({"beta": "1"}, TypeError, "expected beta to be a float or a tensor, got str"),
        ({"beta": True}, TypeError, "expected beta to be a float or a tensor, got bool"),
        ({"beta": torch.tensor(1)}, TypeError, "expected beta to be a floating-point tensor, got dtype torch.int64"),
        ({"beta": torch.tensor([1.0, -0.5])}, ValueError, "expected beta >= 0 and finite, got -0.5"),
        ({"beta": torch.tensor([1.0, math.nan])}, ValueError, "expected beta >= 0 and finite, got nan"),
        ({"beta": torch.ones(3)}, ValueError, r"one value for each of 2 channels, got shape \(3,\)"),
        ({"beta": torch.ones(2, 1)}, ValueError, r"got shape \(2, 1\)"),
        ({"beta": torch.ones((), device="meta")}, RuntimeError, "expected beta on cpu, the device of x, got meta"),
        ({"kernel_size": 0}, RuntimeError, "kernel size should be greater than zero"),
        ({"kernel_size": 5}, RuntimeError, "Output size is too small"),
        ({"padding": 2}, RuntimeError, "pad should be at most half"),
        ({"x": torch.zeros(4)}, RuntimeError, "expected x of shape"),
        ({"x": torch.zeros(1, 2, 4, 4, dtype=torch.int64)}, RuntimeError, "expected x of dtype float32"),
        ({"x": None}, TypeError, "expected x to be a tensor, got NoneType"),
    ],
)
def test_errors_name_argument_rule_and_value(arguments, error, words):
    with pytest.raises(error, match=words) as caught:
        soft_argmax_pool2d(**({"x": torch.zeros(1, 2, 4, 4), "kernel_size": 2, "beta": 1.0} | arguments))
    assert str(caught.value).startswith("soft_argmax_pool2d")


def test_direct_calls_are_refused_before_memory_is_touched():
    x = torch.zeros(2, 3, 4, 4)
    for beta in (torch.ones(3), torch.ones(2, 2), torch.ones(2, 3, dtype=torch.float64)):
        with pytest.raises(RuntimeError, match="soft_argmax_pool2d: expected beta"):
            torch.ops.wwae.soft_argmax_pool2d(x, beta, [2, 2], [2, 2], [0, 0])


@pytest.mark.parametrize("name", ["soft_argmax_pool2d", "soft_argmax_unpool2d"])
def test_examples_of_the_docstrings(name):
    module = importlib.import_module(f"wwae.ops.{name}")
    results = doctest.testmod(module, extraglobs={"torch": torch, "wwae": wwae})
    assert results.attempted > 0
    assert results.failed == 0

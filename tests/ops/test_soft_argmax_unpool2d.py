"""Interpolating unpooling: the definition against closed forms, kernels against the definition, and what the docstring promises."""

import math

import pytest
import torch
from ops.grid import every_case, every_dtype, every_layout
from soft_cases import check_soft_argmax_unpool2d

import wwae
from wwae.ops import soft_argmax_pool2d, soft_argmax_unpool2d
from wwae.reference.soft_argmax_unpool2d import soft_argmax_unpool2d_reference


def unpool(what, x, y, *arguments, **keywords):
    """One window at one position."""
    value = torch.tensor([[[[what]]]], dtype=torch.float64)
    return soft_argmax_unpool2d(value, torch.tensor([[[[[x, y]]]]], dtype=torch.float64), *arguments, **keywords)


@every_case
@every_dtype
@every_layout
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last):
    check_soft_argmax_unpool2d(kernel("soft_argmax_unpool2d"), case, dtype, channels_last)


def test_a_value_is_split_over_the_four_taps_around_it():
    assert unpool(8.0, 0.5, -0.5, 3)[0, 0].tolist() == [[0, 2, 2], [0, 2, 2], [0, 0, 0]]
    assert unpool(8.0, -0.5, 0.25, 2)[0, 0].tolist() == [[2.25, 0.75], [3.75, 1.25]]
    assert unpool(8.0, -1.0, 1.0, 3)[0, 0].tolist() == [[0, 0, 0], [0, 0, 0], [8, 0, 0]]
    assert unpool(8.0, 0.0, 0.0, 3)[0, 0].tolist() == [[0, 0, 0], [0, 8, 0], [0, 0, 0]]


def test_beyond_the_window_counts_as_its_end():
    assert torch.equal(unpool(3.0, 7.0, -2.0, 3), unpool(3.0, 1.0, -1.0, 3))
    assert torch.equal(unpool(3.0, math.inf, -math.inf, 3), unpool(3.0, 1.0, -1.0, 3))


def test_a_window_of_one_tap_ignores_the_position():
    assert unpool(3.0, 0.7, math.nan, 1).item() == 3
    assert unpool(3.0, 0.0, 0.5, (1, 3))[0, 0].tolist() == [[0, 3, 0]]


def test_nan_and_infinities():
    for backend in ("reference", "auto"):
        with wwae.use_backend(backend):
            full = unpool(1.0, math.nan, 1.0, 3)[0, 0]
            assert full.isnan().tolist() == [[False] * 3, [False] * 3, [True, True, False]]
            assert unpool(math.inf, -1.0, 0.0, 3)[0, 0].tolist() == [[0, 0, 0], [math.inf, 0, 0], [0, 0, 0]]
            assert unpool(math.nan, -1.0, 0.0, 3)[0, 0].isnan().sum() == 1


def test_a_hard_position_is_what_switches_do():
    x = torch.randn(2, 3, 8, 8)
    values, switches = wwae.ops.switch_pool2d(x, 2)
    column, row = (switches.offsets % 2).float() * 2 - 1, (switches.offsets // 2).float() * 2 - 1
    full = soft_argmax_unpool2d(values, torch.stack((column, row), dim=-1), 2)
    assert torch.equal(full, wwae.ops.switch_unpool2d(values, switches))


@pytest.mark.parametrize("kernel_size", [2, 3, 16])
def test_sharp_pooling_and_unpooling_put_maxima_back(kernel_size):
    x = torch.randperm(2 * 2 * 48 * 48).view(2, 2, 48, 48).float()
    what, where = soft_argmax_pool2d(x, kernel_size, 1000.0)
    values, switches = wwae.ops.switch_pool2d(x, kernel_size)
    # A position is exact to the last bit of float32, and a tap gets that part of values to 4607.
    full = wwae.ops.switch_unpool2d(values, switches)
    torch.testing.assert_close(soft_argmax_unpool2d(what, where, kernel_size), full, rtol=0, atol=4607 * kernel_size * 2e-7)


def test_overlapping_windows_add():
    what = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    where = torch.tensor([[[1.0, 1.0], [-1.0, 1.0]], [[1.0, -1.0], [-1.0, -1.0]]], dtype=torch.float64)[None, None]
    assert soft_argmax_unpool2d(what, where, 3, 2)[0, 0].nonzero().tolist() == [[2, 2]]
    assert soft_argmax_unpool2d(what, where, 3, 2)[0, 0, 2, 2] == 4


def test_output_size_as_of_max_unpool2d():
    what, where = torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2, 2)
    assert soft_argmax_unpool2d(what, where, 3, 2).shape == (1, 1, 5, 5)
    assert soft_argmax_unpool2d(what, where, 3, 2, 1).shape == (1, 1, 3, 3)
    assert soft_argmax_unpool2d(what, where, 3, 2, output_size=(6, 4)).shape == (1, 1, 6, 4)
    assert soft_argmax_unpool2d(what, where, 3, 2, output_size=(1, 1, 6, 6)).shape == (1, 1, 6, 6)
    # Dropped: the lower right taps of the last windows lie beyond a map of 4.
    assert soft_argmax_unpool2d(what, where, 3, 2, output_size=4).sum() == 1


@every_layout
@pytest.mark.parametrize("arguments", [(3, 2, 1), (2,), ((3, 1), (2, 1)), ((4, 2), (1, 2), (2, 0))])
def test_gradcheck_away_from_the_taps(arguments, channels_last):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    generator = torch.Generator().manual_seed(0)
    what = torch.randn(2, 2, 3, 4, dtype=torch.float64, generator=generator).contiguous(memory_format=layout).requires_grad_()
    # Halfway between two taps of every kernel used here, give or take; and some strictly outside.
    where = torch.randint(0, 5, (2, 2, 3, 4, 2), generator=generator).double() / 2 - 1.0
    where = where.masked_fill(where == 0, 0.4) + 0.17
    where.requires_grad_()
    function = lambda *t: soft_argmax_unpool2d(*t, *arguments)  # noqa: E731
    assert torch.autograd.gradcheck(function, (what, where), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(function, (what, where), check_fwd_over_rev=True)


def test_the_definition_has_the_derivatives_of_its_formula():
    what = torch.randn(1, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    where = (torch.rand(1, 2, 2, 2, 2, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *t: soft_argmax_unpool2d_reference(*t, (3, 3), (2, 2), (1, 1), (4, 4)), (what, where), check_forward_ad=True
    )


def test_the_gradient_of_a_position_on_a_bound_is_the_difference_of_taps():
    where = torch.tensor([1.0, -1.0, 1.0 + 1e-6, -2.0, 0.0, 0.99]).view(1, 1, 1, 3, 2).requires_grad_()
    full = soft_argmax_unpool2d(torch.full((1, 1, 1, 3), 2.0), where, 3)
    weight = torch.arange(1.0, 28.0).view(1, 1, 3, 9) ** 2
    (full * weight).sum().backward()
    difference = lambda a, b: 2 * (weight[0, 0][b] - weight[0, 0][a]).item()  # noqa: E731
    gradient = where.grad[0, 0, 0]
    assert gradient[0].tolist() == [difference((0, 1), (0, 2)), difference((0, 2), (1, 2))]
    assert gradient[1].tolist() == [0, 0]
    assert gradient[2, 0] == pytest.approx(0.01 * difference((1, 7), (1, 8)) + 0.99 * difference((2, 7), (2, 8)), rel=1e-4)


def test_backward_keeps_the_values_and_their_positions():
    what, where, kept = torch.randn(1, 2, 4, 4, requires_grad=True), torch.zeros(1, 2, 4, 4, 2), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        soft_argmax_unpool2d(what, where, 2)
    assert sum(t.nbytes for t in kept) == what.nbytes + where.nbytes


def test_unbatched_and_empty():
    what, where = torch.randn(3, 2, 2), torch.rand(3, 2, 2, 2)
    full = soft_argmax_unpool2d(what, where, 2)
    assert torch.equal(full, soft_argmax_unpool2d(what[None], where[None], 2)[0])
    assert soft_argmax_unpool2d(torch.randn(0, 3, 2, 2), torch.randn(0, 3, 2, 2, 2), 3, 2).shape == (0, 3, 5, 5)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"where": torch.zeros(1, 1, 4, 3, 2)}, RuntimeError, r"expected where of shape \(1, 1, 4, 4, 2\), got \(1, 1, 4, 3, 2\)"),
        ({"where": torch.zeros(1, 1, 4, 4)}, RuntimeError, r"expected where of shape \(1, 1, 4, 4, 2\), got \(1, 1, 4, 4\)"),
        ({"where": torch.zeros(1, 1, 4, 4, 2).double()}, RuntimeError, "expected where of dtype torch.float32, got torch.float64"),
        ({"what": torch.zeros(1, 1, 4, 4).double()}, RuntimeError, "expected where of dtype torch.float64, got torch.float32"),
        ({"where": torch.zeros(1, 1, 4, 4, 2, device="meta")}, RuntimeError, "expected where on cpu, got meta"),
        ({"where": 0.5}, TypeError, "expected where to be a tensor, got float"),
        ({"output_size": (10, 8)}, ValueError, r"invalid output_size .* must be between 6 and 10"),
        ({"output_size": (1, 2, 3)}, ValueError, "output_size should be a sequence containing 2 or 4 elements"),
        ({"kernel_size": 0}, RuntimeError, "kernel size should be greater than zero"),
        ({"padding": 2}, RuntimeError, "pad should be at most half"),
        ({"what": torch.zeros(4)}, RuntimeError, "expected what of shape"),
        ({"what": None}, TypeError, "expected what to be a tensor, got NoneType"),
    ],
)
def test_errors_name_argument_rule_and_value(arguments, error, words):
    defaults = {"what": torch.zeros(1, 1, 4, 4), "where": torch.zeros(1, 1, 4, 4, 2), "kernel_size": 2}
    with pytest.raises(error, match=words) as caught:
        soft_argmax_unpool2d(**(defaults | arguments))
    assert str(caught.value).startswith("soft_argmax_unpool2d")


def test_direct_calls_are_refused_before_memory_is_touched():
    what = torch.zeros(1, 2, 2, 2)
    for where in (torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 1, 2), torch.zeros(1, 2, 2, 2, 2).double()):
        with pytest.raises(RuntimeError, match="soft_argmax_unpool2d: expected where"):
            torch.ops.wwae.soft_argmax_unpool2d(what, where, [2, 2], [2, 2], [0, 0], [4, 4])

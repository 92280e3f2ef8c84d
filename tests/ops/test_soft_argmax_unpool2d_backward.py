"""The gradient of interpolating unpooling: the definition against autograd, and kernels against the definition."""

import pytest
import torch
from kernel_cases import Case
from ops.grid import every_case, every_dtype, every_layout
from soft_cases import check_soft_argmax_unpool2d_backward, geometry, smooth_map, windows_of

from wwae.ops.soft_argmax_unpool2d_backward import SoftArgmaxUnpool2dBackward
from wwae.reference.soft_argmax_unpool2d import soft_argmax_unpool2d_reference
from wwae.reference.soft_argmax_unpool2d_backward import soft_argmax_unpool2d_backward_reference


@every_case
def test_definition_is_the_derivative_of_unpooling(case):
    shape = (*case.shape[:2], *windows_of(case))
    what = smooth_map(shape, torch.float64, 0).requires_grad_()
    where = (torch.rand((*shape, 2), dtype=torch.float64) * 2.4 - 1.2).requires_grad_()
    grad = smooth_map(case.shape, torch.float64, 1)
    full = soft_argmax_unpool2d_reference(what, where, *geometry(case), case.shape[2:])
    expected = torch.autograd.grad(full, (what, where), grad, materialize_grads=True)
    actual = soft_argmax_unpool2d_backward_reference(what.detach(), where.detach(), grad, *geometry(case))
    torch.testing.assert_close(actual, expected)


@every_case
@every_dtype
@every_layout
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last):
    check_soft_argmax_unpool2d_backward(kernel("soft_argmax_unpool2d_backward"), case, dtype, channels_last)


def test_gradcheck_in_every_tensor():
    what = torch.randn(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    where = (torch.rand(1, 2, 2, 3, 2, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    grad = torch.randn(1, 2, 5, 7, dtype=torch.float64, requires_grad=True)
    function = lambda *t: SoftArgmaxUnpool2dBackward.run(*t, (3, 3), (2, 2), (0, 0))  # noqa: E731
    assert torch.autograd.gradcheck(function, (what, where, grad), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, (what, where, grad))


def test_direct_calls_are_refused_before_memory_is_touched():
    what, where, grad = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2, 2), torch.zeros(1, 2, 4, 4)
    window = [2, 2], [2, 2], [0, 0]
    for arguments, name in (
        ((what, where[..., :1], grad), "where"),
        ((what, where.double(), grad), "where"),
        ((what, where, grad[:, :1]), "grad"),
        ((what, where, grad.double()), "grad"),
    ):
        with pytest.raises(RuntimeError, match=f"soft_argmax_unpool2d_backward: expected {name}"):
            torch.ops.wwae.soft_argmax_unpool2d_backward(*arguments, *window)


@every_layout
def test_a_window_beside_the_map_has_the_gradient_of_its_position(kernel, channels_last):
    """Its taps count as 0, which a position of NaN makes NaN."""
    case = Case((2, 16, 4, 4), (2, 2), (2, 2), padding=(0, 1))
    check_soft_argmax_unpool2d_backward(kernel("soft_argmax_unpool2d_backward"), case, torch.float32, channels_last)

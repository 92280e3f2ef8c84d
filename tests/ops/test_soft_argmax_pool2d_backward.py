"""The gradient of soft-argmax pooling: the definition against autograd, and kernels against the definition."""

import pytest
import torch
from kernel_cases import CASES
from ops.grid import every_case, every_dtype, every_layout
from soft_cases import check_soft_argmax_pool2d_backward, geometry, smooth_map, windows_of

from wwae.ops.soft_argmax_pool2d_backward import SoftArgmaxPool2dBackward
from wwae.reference.soft_argmax_pool2d import soft_argmax_pool2d_reference
from wwae.reference.soft_argmax_pool2d_backward import soft_argmax_pool2d_backward_reference


def example(case):
    shape = (*case.shape[:2], *windows_of(case))
    x, what, where = (smooth_map(s, torch.float64, n) for n, s in enumerate((case.shape, shape, (*shape, 2))))
    beta = torch.rand(case.shape[:2], dtype=torch.float64) * 3
    return x, beta, what, where


@every_case
def test_definition_is_the_derivative_of_pooling(case):
    x, beta, what, where = example(case)
    x.requires_grad_()
    beta.requires_grad_()
    pooled = soft_argmax_pool2d_reference(x, beta, *geometry(case))
    expected = torch.autograd.grad(pooled, (x, beta), (what, where))
    actual = soft_argmax_pool2d_backward_reference(x.detach(), beta.detach(), what, where, *geometry(case), True)
    torch.testing.assert_close(actual, expected)


@every_case
@every_dtype
@every_layout
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last):
    check_soft_argmax_pool2d_backward(kernel("soft_argmax_pool2d_backward"), case, dtype, channels_last)


@pytest.mark.parametrize("beta_grad", [False, True])
def test_gradcheck_in_every_tensor(beta_grad):
    case = CASES["3x3 stride 2 padding ceil"]._replace(shape=(1, 2, 5, 6))
    tensors = tuple(tensor.requires_grad_() for tensor in example(case))
    function = lambda *t: SoftArgmaxPool2dBackward.run(*t, *geometry(case), beta_grad)  # noqa: E731
    assert torch.autograd.gradcheck(function, tensors, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, tensors)


def test_direct_calls_are_refused_before_memory_is_touched():
    x, beta = torch.zeros(1, 2, 4, 4), torch.ones(1, 2)
    what, where = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2, 2)
    window = [2, 2], [2, 2], [0, 0], True
    for arguments, name in (
        ((x, torch.ones(2, 2), what, where), "beta"),
        ((x, beta, what[..., :1], where), "grad_what"),
        ((x, beta, what.double(), where), "grad_what"),
        ((x, beta, what, where[..., :1]), "grad_where"),
        ((x, beta, what, where.bfloat16()), "grad_where"),
    ):
        with pytest.raises(RuntimeError, match=f"soft_argmax_pool2d_backward: expected {name}"):
            torch.ops.wwae.soft_argmax_pool2d_backward(*arguments, *window)

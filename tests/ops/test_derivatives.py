"""Derivatives of every operation: numerical checks to second order in both modes, opcheck, and torch.func."""

import pytest
import torch
from ops.grid import distinct
from ops.operations import DIFFERENTIABLE, OPERATIONS, OVERLAPPING, every_operation
from torch.autograd import forward_ad

from wwae import ops


def test_every_operation_is_here():
    assert {name.partition("-")[0] for name in OPERATIONS} == DIFFERENTIABLE


@every_operation
@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
def test_gradcheck(operation, channels_last):
    x = operation.example.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    x = x.detach().requires_grad_()
    # The batched check uses the older vmap, which has no rule for the slices behind fixed_unpool2d's gradient.
    batched = operation.overload is not torch.ops.wwae.fixed_unpool2d.default
    assert torch.autograd.gradcheck(operation.function, x, check_forward_ad=True, check_batched_grad=batched)
    assert torch.autograd.gradgradcheck(operation.function, x, check_fwd_over_rev=True)


@every_operation
def test_gradient_has_the_layout_of_the_input(operation):
    x = operation.example.contiguous(memory_format=torch.channels_last).detach().requires_grad_()
    full = operation.function(x)
    assert full.is_contiguous(memory_format=torch.channels_last)
    # What a loss sends back need not have the layout: a sum sends one number, expanded.
    full.sum().backward()
    assert x.grad.is_contiguous(memory_format=torch.channels_last)


@every_operation
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(operation, requires_grad, dtype):
    for layout in (torch.contiguous_format, torch.channels_last):
        x = operation.example.to(dtype).contiguous(memory_format=layout).detach().requires_grad_(requires_grad)
        torch.library.opcheck(operation.overload, operation.arguments(x))


@every_operation
def test_function_transforms(operation):
    x = operation.example
    weight = torch.randn_like(operation.function(x))
    loss = lambda x: (operation.function(x).square() * weight).sum()  # noqa: E731
    leaf = x.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(loss)(x), expected)
    direction = torch.randn_like(x)
    torch.testing.assert_close(torch.func.jvp(loss, (x,), (direction,))[1], (expected * direction).sum())
    torch.testing.assert_close(torch.func.jacrev(loss)(x), expected)
    torch.testing.assert_close(torch.func.jacfwd(loss)(x), expected)
    small = x[:1, :1]
    if operation.arguments(x)[1:2] and isinstance(operation.arguments(x)[1], torch.Tensor):
        return
    function = lambda x: operation.function(x).square().sum()  # noqa: E731
    hessian = torch.func.hessian(function)(small)
    torch.testing.assert_close(hessian, torch.autograd.functional.hessian(function, small))


@every_operation
def test_vmap(operation):
    batch = torch.stack([operation.example, operation.example.flip(-1), operation.example * 2])
    mapped = torch.func.vmap(operation.function)(batch)
    torch.testing.assert_close(mapped, torch.stack([operation.function(x) for x in batch]))
    last = torch.func.vmap(operation.function, in_dims=-1, out_dims=1)(batch.movedim(0, -1))
    torch.testing.assert_close(last, mapped.movedim(0, 1))
    gradients = torch.func.vmap(torch.func.grad(lambda x: operation.function(x).square().sum()))(batch)
    one = batch[1].clone().requires_grad_()
    operation.function(one).square().sum().backward()
    torch.testing.assert_close(gradients[1], one.grad)


def test_vmap_over_switches():
    x = distinct(4, 2, 3, 6, 6)
    values, offsets = torch.func.vmap(lambda x: (lambda v, s: (v, s.offsets))(*ops.switch_pool2d(x, 2)))(x)
    expected, switches = ops.switch_pool2d(x.flatten(0, 1), 2)
    assert torch.equal(values.flatten(0, 1), expected)
    assert torch.equal(offsets.flatten(0, 1), switches.offsets)


def test_switches_carry_no_gradient():
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    _, switches = ops.switch_pool2d(x, 2)
    assert not switches.offsets.requires_grad
    _, indices = ops.max_pool2d(x, 2, return_indices=True)
    assert not indices.requires_grad


def test_backward_keeps_one_byte_a_window():
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        values, switches = ops.switch_pool2d(x, 2)
        ops.switch_unpool2d(values, switches)
    assert [t.dtype for t in kept] == [torch.uint8, torch.uint8]
    assert sum(t.nbytes for t in kept) == 2 * values.numel()


def test_forward_mode_sees_dual_numbers_without_requires_grad():
    x, tangent = distinct(1, 1, 4, 4), torch.randn(1, 1, 4, 4, dtype=torch.float64)
    with forward_ad.dual_level():
        values, switches = ops.switch_pool2d(forward_ad.make_dual(x, tangent), 2)
        moved = forward_ad.unpack_dual(values).tangent
    assert torch.equal(moved, tangent.flatten(-2).gather(-1, switches.indices().flatten(-2)).view(1, 1, 2, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_gradients_equal_pytorch(dtype):
    for arguments in ({"kernel_size": 2}, OVERLAPPING):
        x = torch.randn(2, 3, 12, 14).to(dtype).requires_grad_()
        other = x.detach().clone().requires_grad_()
        weight = torch.randn_like(torch.nn.functional.max_pool2d(other, **arguments))
        (torch.nn.functional.max_pool2d(other, **arguments) * weight).sum().backward()
        (ops.switch_pool2d(x, **arguments)[0] * weight).sum().backward()
        # PyTorch rounds each addition of a 16-bit sum, ours the sum once.
        tolerance = 0 if arguments == {"kernel_size": 2} else torch.finfo(dtype).eps * 4
        torch.testing.assert_close(x.grad, other.grad, rtol=tolerance, atol=tolerance)


class _Severed(torch.autograd.Function):
    """The identity, without a derivative."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return None


@pytest.mark.parametrize("operation", ["switch_pool2d", "bias_relu_pool2d"])
def test_no_gradient_comes_through_what_has_none(operation):
    x = torch.randn(1, 2, 4, 4, requires_grad=True)
    arguments = (torch.zeros(2),) if operation == "bias_relu_pool2d" else ()
    values, _ = getattr(ops, operation)(x, *arguments, 2)
    _Severed.apply(values).sum().backward()
    assert x.grad is None

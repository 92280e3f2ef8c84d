"""The weight gradient where one of a convolution's maps is unpooled: backends against the definition, both uses of it."""

import pytest
import torch
from convolution_cases import CHECKS, check_unpool_conv2d_weight_backward
from ops.grid import every_case, every_dtype, every_layout
from torch.nn.functional import conv2d

from wwae.ops import switch_pool2d, switch_unpool2d
from wwae.reference.unpool_conv2d_weight_backward import unpool_conv2d_weight_backward_reference

_, VARIANTS = CHECKS["unpool_conv2d_weight_backward"]


@every_case
@every_dtype
@every_layout
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last):
    for arguments in VARIANTS:
        check_unpool_conv2d_weight_backward(kernel("unpool_conv2d_weight_backward"), case, dtype, channels_last, *arguments)


@pytest.mark.parametrize("padding", [(1, 1), (0, 2)])
@pytest.mark.parametrize("kernel_size", [(3, 3), (5, 2)])
def test_the_definition_is_the_gradient_of_both_convolutions(kernel_size, padding):
    x = torch.randn(2, 3, 9, 10, dtype=torch.float64)
    values, switches = switch_pool2d(x, 2)
    geometry = ((2, 2), (2, 2), (0, 0), (1, 1), (9, 10))
    full = switch_unpool2d(values, switches)

    # Of a convolution that reads the unpooled map.
    weight = torch.randn(4, 3, *kernel_size, dtype=torch.float64, requires_grad=True)
    y = conv2d(full, weight, padding=padding)
    grad = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, weight, grad)
    actual = unpool_conv2d_weight_backward_reference(values, switches.offsets, grad, *geometry, kernel_size, padding)
    torch.testing.assert_close(actual, expected)

    # Of a convolution whose result was pooled, so that the gradient of that is the unpooled map.
    mirrored = tuple(k - 1 - p for k, p in zip(kernel_size, padding, strict=True))
    if min(mirrored) < 0:
        return
    size = [n + k - 1 - 2 * p for n, k, p in zip((9, 10), kernel_size, padding, strict=True)]
    image = torch.randn(2, 4, *size, dtype=torch.float64)
    weight = torch.randn(3, 4, *kernel_size, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(conv2d(image, weight, padding=padding), weight, full)
    actual = unpool_conv2d_weight_backward_reference(values, switches.offsets, image, *geometry, kernel_size, mirrored)
    torch.testing.assert_close(actual.flip((2, 3)).transpose(0, 1), expected)


def _arguments(dtype=torch.float32):
    values, switches = switch_pool2d(torch.randn(2, 3, 8, 8).to(dtype), 2)
    return values, switches.offsets, torch.randn(2, 4, 8, 8).to(dtype), (2, 2), (2, 2), (0, 0), (1, 1), (8, 8), (3, 3), (1, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(dtype):
    torch.library.opcheck(torch.ops.wwae.unpool_conv2d_weight_backward.default, _arguments(dtype))


def test_direct_call_has_no_silent_derivative():
    values, *rest = _arguments()
    gradient = torch.ops.wwae.unpool_conv2d_weight_backward(values.requires_grad_(), *rest)
    with pytest.raises(NotImplementedError, match="unpool_conv2d_weight_backward: expected to be differentiated through"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("position", "wrong", "words"),
    [
        (1, torch.zeros(2, 3, 4, 5, dtype=torch.uint8), r"expected offsets of shape \(2, 3, 4, 4\)"),
        (1, torch.zeros(2, 3, 4, 4, dtype=torch.int16), "expected offsets of dtype torch.uint8"),
        (2, torch.zeros(2, 4, 8, 7), r"expected dense of shape \(2, 4, 8, 8\), got \(2, 4, 8, 7\)"),
        (2, torch.zeros(1, 4, 8, 8), r"expected dense of shape \(2, 4, 8, 8\)"),
        (2, torch.zeros(2, 4, 8, 8).half(), "expected dense of dtype torch.float32"),
    ],
)
def test_the_shapes_that_a_kernel_may_expect(position, wrong, words):
    arguments = [*_arguments()]
    arguments[position] = wrong
    arguments = [a.to("meta") if isinstance(a, torch.Tensor) else a for a in arguments]
    with pytest.raises(RuntimeError, match=words):
        torch.ops.wwae.unpool_conv2d_weight_backward(*arguments)

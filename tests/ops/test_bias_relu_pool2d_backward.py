"""The gradients of bias, ReLU and pooling: kernels against the reference, and the order of their sums."""

import pytest
import torch
from fused_cases import check_bias_relu_pool2d_backward
from ops.grid import every_case, every_dtype, every_layout

from wwae.reference.bias_relu_pool2d_backward import bias_relu_pool2d_backward_reference


@every_case
@every_dtype
@every_layout
@pytest.mark.parametrize("corrupt", [False, True], ids=["pooled", "corrupt"])
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last, corrupt):
    check_bias_relu_pool2d_backward(kernel("bias_relu_pool2d_backward"), case, dtype, channels_last, corrupt)


def _arguments(shape, dtype, layout):
    values = torch.rand(shape).to(dtype).contiguous(memory_format=layout)
    grad = torch.rand_like(values)
    offsets = torch.randint(0, 4, shape, dtype=torch.uint8).contiguous(memory_format=layout)
    size = (2 * shape[2], 2 * shape[3])
    return grad, values, offsets, (2, 2), (2, 2), (0, 0), (1, 1), size


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_long_sums_are_accurate(kernel, dtype, layout):
    """A plain float32 sum of as many numbers is wrong in its fourth digit."""
    arguments = _arguments((8, 3, 150, 131), dtype, layout)
    actual = kernel("bias_relu_pool2d_backward")(*arguments)[1]
    torch.testing.assert_close(actual, bias_relu_pool2d_backward_reference(*arguments)[1], rtol=2e-6, atol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_sums_do_not_depend_on_threads_or_luck(layout):
    arguments = _arguments((5, 7, 60, 61), torch.float32, layout)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 4, 4):
            torch.set_num_threads(count)
            results.append(torch.ops.wwae.bias_relu_pool2d_backward(*arguments))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_direct_call_has_no_silent_derivative():
    grad, *rest = _arguments((1, 2, 3, 3), torch.float32, torch.contiguous_format)
    full, _ = torch.ops.wwae.bias_relu_pool2d_backward(grad.requires_grad_(), *rest)
    with pytest.raises(NotImplementedError, match="bias_relu_pool2d_backward: expected to be differentiated through"):
        full.sum().backward()


def test_direct_calls_are_refused_before_memory_is_touched():
    call = torch.ops.wwae.bias_relu_pool2d_backward
    pooled = torch.zeros(1, 2, 2, 2)
    offsets = torch.zeros(1, 2, 2, 2, dtype=torch.uint8)
    geometry = ([2, 2], [2, 2], [0, 0], [1, 1], [4, 4])
    for grad, values, switches in (
        (pooled, pooled[:, :1], offsets),
        (pooled, pooled.double(), offsets),
        (pooled, pooled, offsets.short()),
        (pooled, pooled, offsets[..., :1]),
    ):
        with pytest.raises(RuntimeError, match="bias_relu_pool2d_backward: expected"):
            call(grad, values, switches, *geometry)

"""PyTorch's pooling with indices: kernels against the reference, the reference against PyTorch."""

import pytest
import torch
from kernel_cases import check_max_pool2d, in_layout, make_map
from ops.grid import every_case, every_dtype, every_layout

from wwae.ops import max_pool2d


@every_case
@every_dtype
@every_layout
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last):
    check_max_pool2d(kernel("max_pool2d"), case, dtype, channels_last)


@every_case
@every_dtype
@every_layout
def test_equals_pytorch(case, dtype, channels_last):
    x = in_layout(make_map(case.shape, dtype, seed=0), channels_last)
    values, indices = max_pool2d(x, *case.window, case.ceil_mode, return_indices=True)
    expected = torch.nn.functional.max_pool2d(x, *case.window, case.ceil_mode, return_indices=True)
    torch.testing.assert_close(values, expected[0], rtol=0, atol=0, equal_nan=True)
    assert torch.equal(indices, expected[1])
    assert values.stride() == expected[0].stride()
    assert torch.equal(max_pool2d(x, *case.window, case.ceil_mode).isnan(), values.isnan())


def test_gradient_keeps_offsets_only():
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        values, _ = max_pool2d(x, 2, return_indices=True)
    assert [(t.dtype, t.numel()) for t in kept] == [(torch.uint8, values.numel())]
    values.sum().backward()
    expected = x.detach().clone().requires_grad_()
    torch.nn.functional.max_pool2d(expected, 2).sum().backward()
    assert torch.equal(x.grad, expected.grad)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_integers_are_pooled_by_pytorch(dtype):
    x = torch.randint(0, 100, (1, 2, 6, 6)).to(dtype)
    assert torch.equal(max_pool2d(x, 2), torch.nn.functional.max_pool2d(x, 2))

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


@pytest.mark.parametrize("channels_last", [False, True])
def test_indices_of_windows_and_maps_beyond_sixteen_bits(channels_last):
    """Distances between taps of a window: of a long row, and of a window that is mostly padding."""
    for shape, arguments in (
        ((1, 2, 3, 40_000), {"kernel_size": 3, "stride": (1, 2)}),
        ((1, 2, 2, 3), {"kernel_size": (1, 40_000), "padding": (0, 20_000), "stride": (1, 3)}),
    ):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        x = x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        expected = torch.nn.functional.max_pool2d(x, **arguments, return_indices=True)
        for found, wanted in zip(max_pool2d(x, **arguments, return_indices=True), expected, strict=True):
            assert torch.equal(found, wanted)

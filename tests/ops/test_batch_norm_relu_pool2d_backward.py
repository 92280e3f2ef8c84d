"""The gradients of batch norm, ReLU and pooling: kernels against the reference, and the order of their sums."""

import pytest
import torch
from fused_cases import check_batch_norm_relu_pool2d_backward
from ops.grid import every_case, every_dtype, every_layout


@every_case
@every_dtype
@every_layout
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("corrupt", [False, True], ids=["pooled", "corrupt"])
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last, training, corrupt):
    check = check_batch_norm_relu_pool2d_backward
    check(kernel("batch_norm_relu_pool2d_backward"), case, dtype, channels_last, training, corrupt)


@every_layout
def test_sums_do_not_depend_on_threads_or_luck(channels_last):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    values = torch.randn(5, 7, 30, 31).contiguous(memory_format=layout)
    offsets = torch.randint(0, 4, values.shape, dtype=torch.uint8).contiguous(memory_format=layout)
    x = torch.randn(5, 7, 60, 62).contiguous(memory_format=layout)
    parameters = torch.zeros(7), torch.ones(7), torch.ones(7)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 4, 4):
            torch.set_num_threads(count)
            arguments = (values, values, offsets, x, *parameters, True, 1e-5, (2, 2), (2, 2), (0, 0), (1, 1))
            results.append(torch.ops.wwae.batch_norm_relu_pool2d_backward(*arguments))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_direct_calls_are_refused_before_memory_is_touched():
    call = torch.ops.wwae.batch_norm_relu_pool2d_backward
    pooled, x, one = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 4, 4), torch.ones(2)
    offsets = torch.zeros(1, 2, 2, 2, dtype=torch.uint8)
    geometry = (True, 1e-5, [2, 2], [2, 2], [0, 0], [1, 1])
    for arguments in (
        (pooled, pooled[:, :1], offsets, x, one, one, one),
        (pooled, pooled, offsets.short(), x, one, one, one),
        (pooled, pooled, offsets, x.double(), one, one, one),
        (pooled, pooled, offsets, x[:, :1], one, one, one),
        (pooled, pooled, offsets, x, one[:1], one, one),
        (pooled, pooled, offsets, x, one, one.half(), one),
    ):
        with pytest.raises(RuntimeError, match="batch_norm_relu_pool2d_backward: expected"):
            call(*arguments, *geometry)

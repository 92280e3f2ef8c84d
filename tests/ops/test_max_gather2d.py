"""The transpose of unpooling by indices: kernels against the reference, and the adjoint identity."""

import torch
from kernel_cases import check_max_gather2d, indexed_windows
from ops.grid import every_case, every_dtype, every_layout


@every_case
@every_dtype
@every_layout
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last):
    check_max_gather2d(kernel("max_gather2d"), case, dtype, channels_last)


@every_case
def test_adjoint_of_unpooling(case):
    for _, indices in indexed_windows(case, torch.float64, False):
        values = torch.randn(indices.shape, dtype=torch.float64)
        full = torch.randn(case.shape, dtype=torch.float64)
        unpooled = torch.ops.wwae.max_unpool2d(values, indices, case.shape[2:])
        gathered = torch.ops.wwae.max_gather2d(full, indices)
        torch.testing.assert_close((unpooled * full).sum(), (values * gathered).sum())

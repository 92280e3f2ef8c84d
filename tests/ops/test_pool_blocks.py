"""Contiguous planes of short rows, which the CPU kernels pool a vector of them at a time."""

import fused_cases
import kernel_cases
import pytest
import torch
from kernel_cases import DTYPES, Case

import wwae

CASES = {
    "a vector of planes": Case((1, 32, 6, 7), (2, 2), (2, 2)),
    "planes of two images and a rest": Case((2, 71, 13, 13), (3, 3), (2, 2)),
    "padded": Case((2, 45, 9, 12), (3, 3), (2, 2), (1, 1)),
    "some windows without a real tap": Case((2, 33, 2, 2), (2, 2), (1, 1), (1, 1), (3, 3)),
    "dilated, with a last window over the edge": Case((1, 70, 11, 12), (3, 2), (2, 3), (1, 0), (2, 2), True),
    "large windows": Case((1, 66, 33, 34), (16, 16), (16, 16)),
    "windows too large for bytes": Case((1, 40, 20, 35), (17, 16), (9, 16), (2, 3)),
    "fewer planes than a vector": Case((9, 3, 6, 6), (2, 2), (2, 2)),
    "large planes": Case((1, 33, 70, 100), (8, 8), (9, 8)),
}


@pytest.mark.parametrize("stem", ["switch_pool2d", "max_pool2d", "bias_relu_pool2d", "batch_norm_relu_pool2d"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name: str, dtype: torch.dtype, stem: str):
    cases = kernel_cases if stem in ("switch_pool2d", "max_pool2d") else fused_cases
    with wwae.use_backend("cpu"):
        getattr(cases, f"check_{stem}")(getattr(torch.ops.wwae, stem), CASES[name], dtype, False)

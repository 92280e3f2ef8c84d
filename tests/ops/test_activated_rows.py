"""Channels-last maps of 16 bits: bias or batch norm and ReLU go over rows of which the CPU kernels keep a few."""

import fused_cases
import pytest
import torch
from kernel_cases import Case

import wwae

CASES = {
    "rows that are all kept": Case((2, 33, 9, 7), (3, 3), (2, 2)),
    "rows that are kept for one row of windows": Case((2, 300, 11, 130), (3, 3), (2, 2)),
    "each row for three rows of windows": Case((1, 260, 8, 140), (3, 2), (1, 3), (1, 1)),
    "rows that no window needs": Case((2, 300, 13, 120), (2, 2), (5, 4)),
    "dilated windows": Case((1, 300, 12, 130), (2, 3), (1, 2), (1, 1), (3, 2), True),
    "windows without a real tap": Case((2, 40, 2, 2), (2, 2), (1, 1), (1, 1), (3, 3)),
    "one channel more than a vector": Case((3, 17, 6, 6), (3, 3), (1, 1)),
}


@pytest.mark.parametrize("stem", ["bias_relu_pool2d", "batch_norm_relu_pool2d"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name: str, dtype: torch.dtype, threads: int, stem: str):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with wwae.use_backend("cpu"):
            getattr(fused_cases, f"check_{stem}")(getattr(torch.ops.wwae, stem), CASES[name], dtype, True)
    finally:
        torch.set_num_threads(before)

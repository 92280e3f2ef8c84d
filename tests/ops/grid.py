"""Parameters that the tests of several operations share."""

import pytest
import torch
from kernel_cases import CASES, DTYPES

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
every_layout = pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
every_overlap = pytest.mark.parametrize("overlap", ["last", "sum", "mean"])


def distinct(*shape: int) -> torch.Tensor:
    """A shuffled staircase in float64: no ties, and a gap that no finite difference crosses."""
    size = torch.Size(shape).numel()
    return (torch.randperm(size, generator=torch.Generator().manual_seed(0)).to(torch.float64) / 10).view(shape)

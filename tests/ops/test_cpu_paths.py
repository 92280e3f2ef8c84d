"""Shapes at which the CPU kernels take another way: short rows, long tiles, many channels, many planes."""

import pytest
import torch

import wwae
from wwae.reference.switch_gather2d import switch_gather2d_reference
from wwae.reference.switch_pool2d import switch_pool2d_reference
from wwae.reference.switch_unpool2d import switch_unpool2d_reference

# name: shape, kernel_size, stride, channels_last
SHAPES = {
    # The last vector of a row runs into the next row, but not out of what a thread fills.
    "rows of less than a vector": ((3, 70, 28, 28), 2, 2, False),
    "rows of a vector and a bit": ((2, 30, 10, 38), 2, 2, False),
    "odd rows": ((2, 40, 9, 31), 2, 2, False),
    # Planes of short rows are taken several at a time, the last ones fewer.
    "planes of one window": ((40, 70, 2, 2), 2, 2, False),
    "planes of short rows": ((3, 70, 14, 14), 2, 2, False),
    "planes of short odd rows": ((2, 40, 9, 15), 2, 2, False),
    "planes of overlapping windows": ((3, 75, 13, 13), 3, 2, False),
    "planes of windows that overlap twice": ((2, 90, 7, 9), 3, 1, False),
    "planes of a row of windows": ((3, 50, 3, 20), 3, 2, False),
    "planes of a column of windows": ((3, 50, 20, 3), 3, 2, False),
    "planes of more windows than are taken at a time": ((2, 5, 120, 27), 3, 2, False),
    "small planes of long rows": ((2, 9, 40, 61), 3, 2, False),
    "small planes of long rows that overlap twice": ((2, 7, 33, 60), 3, 1, False),
    "planes a little too large": ((2, 5, 63, 66), 3, 2, False),
    # Large windows clear a tile first: one of the cache's size, or one longer than the caches.
    "overlapping windows of many channels": ((2, 70, 20, 20), 5, 1, True),
    "large windows of many channels": ((2, 40, 68, 70), 17, 17, True),
    "large windows in two tiles": ((1, 2, 1000, 1100), 9, 9, False),
    # More channels than are marked at a time, and more planes than a mark has numbers.
    "many channels": ((1, 3000, 20, 20), 3, 2, True),
    "many planes": ((2, 70_000, 2, 3), 2, 1, False),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", SHAPES)
def test_equals_reference(name: str, dtype: torch.dtype):
    shape, kernel_size, stride, channels_last = SHAPES[name]
    layout = torch.channels_last if channels_last else torch.contiguous_format
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).to(dtype).contiguous(memory_format=layout)
    window = (kernel_size,) * 2, (stride,) * 2, (0, 0), (1, 1)
    values, offsets = switch_pool2d_reference(x, *window, False)
    for overlap in ("last", "sum", "mean"):
        unpooled = torch.ops.wwae.switch_unpool2d(values, offsets, *window, shape[2:], overlap)
        torch.testing.assert_close(
            unpooled, switch_unpool2d_reference(values, offsets, *window, shape[2:], overlap), rtol=0, atol=0
        )
        gathered = torch.ops.wwae.switch_gather2d(x, offsets, *window, overlap)
        torch.testing.assert_close(gathered, switch_gather2d_reference(x, offsets, *window, overlap), rtol=0, atol=0)
    indices = wwae.ops.switch_pool2d(x, kernel_size, stride)[1].indices()
    torch.testing.assert_close(
        torch.ops.wwae.max_unpool2d(values, indices, shape[2:]),
        switch_unpool2d_reference(values, offsets, *window, shape[2:], "last"),
        rtol=0,
        atol=0,
    )
    torch.testing.assert_close(
        torch.ops.wwae.max_gather2d(x, indices), switch_gather2d_reference(x, offsets, *window, "last"), rtol=0, atol=0
    )


@pytest.mark.parametrize("bad", [-1, 9, 2**40])
def test_the_first_bad_index_of_many_small_planes_is_named(bad: int):
    indices = torch.full((2, 300, 1, 2), 4)
    indices[1, 177, 0, 1] = bad
    indices[1, 290, 0, 0] = 1000
    with pytest.raises(RuntimeError, match=rf"found an invalid max index {bad} \(output volumes are of size 3x3\)"):
        torch.ops.wwae.max_unpool2d(torch.ones(2, 300, 1, 2), indices, (3, 3))
    with pytest.raises(RuntimeError, match=rf"found an invalid max index {bad} \(output volumes are of size 3x3\)"):
        torch.ops.wwae.max_gather2d(torch.ones(2, 300, 3, 3), indices)

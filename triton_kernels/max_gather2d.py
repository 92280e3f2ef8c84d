"""The transpose of max_unpool2d: every window reads the pixel its int64 index names.

    output[n, c, oh, ow] = x[n, c].flat[indices[n, c, oh, ow]] if (oh, ow) is the last window, in raster order, with
                           that index, else 0

An index outside the plane gathers 0. The owner map of max_unpool2d (see there) says which window is the last; it is
built with integer atomic maxima, whose result does not depend on order: deterministic.

x [N, C, H, W], indices and output [N, C, OH, OW], all in the layout of x; a program works on one tile of windows.
Bytes per element of x of a 2 x 2 pool and 16-bit floats: 4 to fill the owners, 2 + 4 to claim, 2 + 4 + 2 + 0.5 to
gather.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .max_unpool2d import claim_owners, indexed_address
from .tile import WARPS, element_address, is_channels_last, memory_format, tile_elements, tile_map


@triton.jit
def max_gather2d_kernel(
    x,  # [N, C, H, W]
    indices,  # [N, C, OH, OW], int64
    owner,  # [N, C, H, W], int32 or int64
    output,  # [N, C, OH, OW]
    rows,  # of the output
    channels,
    size,  # H * W
    out_height,
    out_width,
    tiling: tl.constexpr,
):
    # (image, oh, ow, channel) is a window
    image, oh, ow, channel, inside = tile_elements(rows, out_height, out_width, channels, tiling)
    address = element_address(image, oh, ow, channel, out_height, out_width, channels)
    index = tl.load(indices + address, mask=inside, other=-1)
    named = inside & (index >= 0) & (index < size)
    pixel = indexed_address(image, index, channel, size, channels)
    number = oh.to(owner.dtype.element_ty) * out_width + ow
    winner = named & (tl.load(owner + pixel, mask=named, other=-1) == number)
    tl.store(output + address, tl.load(x + pixel, mask=winner, other=0.0), mask=inside)


def max_gather2d_triton(x: Tensor, indices: Tensor) -> Tensor:
    """The gathered values; `wwae::max_gather2d` on the Triton backend."""
    channels_last = is_channels_last(x)
    layout = memory_format(channels_last)
    x = x.contiguous(memory_format=layout)
    indices = indices.contiguous(memory_format=layout)
    height, width = x.shape[2:]
    out_height, out_width = indices.shape[2:]
    output = torch.empty(indices.shape, dtype=x.dtype, device=x.device, memory_format=layout)
    if output.numel() == 0:
        return output
    with torch.cuda.device_of(x):
        owner = claim_owners(indices, (height, width), channels_last)
        grid, rows, inner, tiling = tile_map(*indices.shape, channels_last)
        max_gather2d_kernel[grid](
            x, indices, owner, output, rows, inner, height * width, out_height, out_width, tiling, num_warps=WARPS
        )
    return output

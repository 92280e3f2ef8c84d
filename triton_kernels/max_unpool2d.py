"""Unpooling by PyTorch's int64 indices: output[n, c].flat[indices[n, c, oh, ow]] = x[n, c, oh, ow], 0 elsewhere.

Where several windows have one index, the last in raster order wins. Indices do not say which windows may reach a
pixel, so two passes go over an owner map (one integer a pixel, -1 at first):

    claim: owner[index] = max(owner[index], oh * OW + ow), an integer atomic maximum, whose result does not depend on
           the order of the programs: deterministic, and no float atomics
    place: output[pixel] = x[owner[pixel]], 0 where nobody claimed

An index outside the plane claims nothing.

x and indices [N, C, OH, OW], output and owner [N, C, H, W], all in the layout of x; a program works on one tile of
windows (claim) or of pixels (place). Owners are int32 unless a plane has 2^31 windows. Bytes per output pixel of a
2 x 2 pool and 16-bit floats: 4 to fill the owners, 2 + 4 to claim, 4 + 0.5 + 2 to place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .tile import WARPS, element_address, is_channels_last, memory_format, tile_elements, tile_map


@triton.jit
def indexed_address(image, index, channel, size, channels):
    """Position of flat plane index `index` of a map with planes of `size` pixels, in elements."""
    return (image.to(tl.int64) * size + index) * channels + channel


@triton.jit
def claim_kernel(
    indices,  # [N, C, OH, OW], int64
    owner,  # [N, C, H, W], int32 or int64
    rows,  # of the map of windows
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
    number = oh.to(owner.dtype.element_ty) * out_width + ow + tl.zeros(inside.shape, owner.dtype.element_ty)
    claimed = indexed_address(image, index, channel, size, channels)
    tl.atomic_max(owner + claimed, number, mask=inside & (index >= 0) & (index < size), sem="relaxed")


@triton.jit
def max_unpool2d_place_kernel(
    x,  # [N, C, OH, OW]
    owner,  # [N, C, H, W], int32 or int64
    output,  # [N, C, H, W]
    rows,  # of the output
    channels,
    height,
    width,
    out_size,  # OH * OW
    tiling: tl.constexpr,
):
    # (image, h, w, channel) is a pixel of the output
    image, h, w, channel, inside = tile_elements(rows, height, width, channels, tiling)
    address = element_address(image, h, w, channel, height, width, channels)
    number = tl.load(owner + address, mask=inside, other=-1)
    source = indexed_address(image, number, channel, out_size, channels)
    value = tl.load(x + source, mask=inside & (number >= 0), other=0.0)
    tl.store(output + address, value, mask=inside)


def claim_owners(indices: Tensor, output_size: Sequence[int], channels_last: bool) -> Tensor:
    """The owner map [N, C, H, W]: for every pixel the number of the last window that has its index, or -1."""
    batch, channels, out_height, out_width = indices.shape
    dtype = torch.int32 if out_height * out_width < 2**31 else torch.int64
    owner = torch.empty(
        (batch, channels, *output_size), dtype=dtype, device=indices.device, memory_format=memory_format(channels_last)
    ).fill_(-1)
    if indices.numel() and owner.numel():
        grid, rows, inner, tiling = tile_map(*indices.shape, channels_last)
        size = output_size[0] * output_size[1]
        claim_kernel[grid](indices, owner, rows, inner, size, out_height, out_width, tiling, num_warps=WARPS)
    return owner


def max_unpool2d_triton(x: Tensor, indices: Tensor, output_size: Sequence[int]) -> Tensor:
    """The unpooled map; `wwae::max_unpool2d` on the Triton backend."""
    channels_last = is_channels_last(x)
    layout = memory_format(channels_last)
    x = x.contiguous(memory_format=layout)
    indices = indices.contiguous(memory_format=layout)
    batch, channels, out_height, out_width = x.shape
    height, width = output_size
    output = torch.empty((batch, channels, height, width), dtype=x.dtype, device=x.device, memory_format=layout)
    if output.numel() == 0:
        return output
    with torch.cuda.device_of(x):
        owner = claim_owners(indices, output_size, channels_last)
        grid, rows, inner, tiling = tile_map(batch, channels, height, width, channels_last)
        max_unpool2d_place_kernel[grid](
            x, owner, output, rows, inner, height, width, out_height * out_width, tiling, num_warps=WARPS
        )
    return output

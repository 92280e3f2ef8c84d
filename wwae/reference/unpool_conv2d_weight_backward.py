"""The gradient of a convolution's weights where one of its two maps is unpooled."""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.reference.switch_unpool2d import switch_unpool2d_reference
from wwae.reference.window import Pair, accumulation_dtype, memory_format


def unpool_conv2d_weight_backward_reference(
    x: Tensor,
    offsets: Tensor,
    dense: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    output_size: Pair,
    conv_kernel_size: Pair,
    conv_padding: Pair,
) -> Tensor:
    """``D[o, i, r, s] = sum over n, h, w of dense[n, o, h, w] * unpool(x)[n, i, h + r - PH, w + s - PW]``.

    ``dense`` is ``(N, O, H, W)``; ``unpool(x)`` is the map ``(N, I, *output_size)`` where the last of several windows on one
    element wins, 0 outside. Sums of bfloat16 and float16 are float32, and rounded once to the dtype of ``x``. The result has the
    memory format of ``x``.
    """
    wide = accumulation_dtype(x.dtype)
    full = switch_unpool2d_reference(x, offsets, kernel_size, stride, padding, dilation, output_size, "last")
    (ph, pw), (height, width), (rows, columns) = conv_padding, dense.shape[-2:], conv_kernel_size
    padded = torch.nn.functional.pad(full.to(wide), (pw, pw, ph, ph))
    taps = [
        torch.einsum("nohw,nihw->oi", dense.to(wide), padded[..., r : r + height, s : s + width])
        for r in range(rows)
        for s in range(columns)
    ]
    return torch.stack(taps, -1).unflatten(-1, (rows, columns)).to(x.dtype).contiguous(memory_format=memory_format(x))

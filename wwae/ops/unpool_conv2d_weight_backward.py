"""The gradient of a convolution's weights where one of its two maps is unpooled: that of the input, or that of the output.

``D[o, i, r, s] = sum over n, h, w of dense[n, o, h, w] * unpool(x)[n, i, h + r - PH, w + s - PW]`` is the weight gradient of
:func:`unpool_conv2d`, ``dense`` being the gradient of its output. That of :func:`conv_relu_pool2d` is the same sum, with its input
as ``dense`` and its pooled gradient as ``x``, transposed and mirrored.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wwae.ops import _arguments as check
from wwae.ops._library import LIBRARY, define, without_derivative
from wwae.ops._relu import no_second_derivative
from wwae.reference.window import Pair, memory_format, pooled_sizes

__all__: list[str] = []

NAME = "unpool_conv2d_weight_backward"


def _fake(
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
    check.require_dtype(NAME, "x", x)
    check.require_geometry(NAME, kernel_size, stride, padding, dilation)
    check.require_offsets(NAME, offsets, kernel_size)
    check.require_like(NAME, "offsets", offsets, x.shape, offsets.dtype, x)
    size = pooled_sizes(output_size, conv_kernel_size, (1, 1), conv_padding, (1, 1), False)
    check.require_like(NAME, "dense", dense, (x.shape[0], dense.shape[1], *size), x.dtype, x)
    shape = dense.shape[1], x.shape[1], *conv_kernel_size
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


OPERATION = define(
    f"{NAME}(Tensor x, Tensor offsets, Tensor dense, SymInt[2] kernel_size, SymInt[2] stride, SymInt[2] padding,"
    " SymInt[2] dilation, SymInt[2] output_size, SymInt[2] conv_kernel_size, SymInt[2] conv_padding) -> Tensor",
    _fake,
)
no_second_derivative(OPERATION, LIBRARY)
run = without_derivative(OPERATION)

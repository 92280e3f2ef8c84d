"""The gradients of convolution, ReLU and max pooling in one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from wwae.reference.bias_relu_pool2d_backward import bias_relu_pool2d_backward_reference
from wwae.reference.window import Pair, accumulation_dtype, memory_format, pooled_sizes, spatial_size


def conv_relu_pool2d_backward_reference(
    grad: Tensor,
    values: Tensor,
    offsets: Tensor,
    x: Tensor,
    weight: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    conv_stride: Pair,
    conv_padding: Pair,
    conv_dilation: Pair,
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of ``x``, ``weight`` and the bias from that of the pooled values, each empty ``(0,)`` where not wanted.

    The first two have the memory format of ``x``.

    A window whose value is 0 or less stops its gradient; the others send theirs to their switch, where it adds up. Sums are
    float32 for bfloat16 and float16, and rounded once to the dtype of ``x``.
    """
    size = pooled_sizes(spatial_size(x), (weight.shape[2], weight.shape[3]), conv_stride, conv_padding, conv_dilation, False)
    full, grad_bias = bias_relu_pool2d_backward_reference(grad, values, offsets, kernel_size, stride, padding, dilation, size)
    wide = accumulation_dtype(x.dtype)
    arguments = (conv_stride, conv_padding, conv_dilation, groups)
    wide_x, wide_weight, wide_full = x.to(wide), weight.to(wide), full.to(wide)
    grad_x = conv2d_input(x.shape, wide_weight, wide_full, *arguments).to(x.dtype)
    grad_weight = conv2d_weight(wide_x, weight.shape, wide_full, *arguments).to(x.dtype)
    layout = memory_format(x)
    grads = *(grad.contiguous(memory_format=layout) for grad in (grad_x, grad_weight)), grad_bias.to(x.dtype)
    grad_x, grad_weight, grad_bias = (g if wanted else g.new_empty(0) for g, wanted in zip(grads, output_mask, strict=True))
    return grad_x, grad_weight, grad_bias

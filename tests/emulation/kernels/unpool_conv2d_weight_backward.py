import torch
from emulation.convolution import channels_last, convolution, require_half
from emulation.emulated import geometry

from wwae.reference.window import memory_format


def unpool_conv2d_weight_backward(
    kernels, x, offsets, dense, kernel_size, stride, padding, dilation, output_size, conv_kernel_size, conv_padding
):
    require_half("unpool_conv2d_weight_backward", x)
    grad = torch.empty((dense.shape[1], x.shape[1], *conv_kernel_size), dtype=x.dtype)
    kernels.call(
        "unpool_conv2d_weight_backward", x.dtype, channels_last(x), channels_last(offsets), channels_last(dense), grad,
        convolution(x, dense.shape[1], output_size, conv_kernel_size, conv_padding),
        geometry(output_size, x.shape[2:], kernel_size, stride, padding, dilation),
    )  # fmt: skip
    return grad.contiguous(memory_format=memory_format(x))

import torch
from emulation.emulated import geometry
from emulation.kernels.conv_relu_pool2d import convolution


def unpool_conv2d_weight_backward(
    kernels, x, offsets, dense, kernel_size, stride, padding, dilation, output_size, conv_kernel_size, conv_padding
):
    grad = torch.empty((dense.shape[1], x.shape[1], *conv_kernel_size), dtype=x.dtype)
    kernels.call(
        "unpool_conv2d_weight_backward", x.dtype, x, offsets, dense, grad,
        convolution(x, grad, output_size, conv_padding),
        geometry(output_size, x.shape[2:], kernel_size, stride, padding, dilation),
    )  # fmt: skip
    return grad

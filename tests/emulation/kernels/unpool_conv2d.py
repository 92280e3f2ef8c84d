import torch
from emulation.emulated import geometry
from emulation.kernels.conv_relu_pool2d import LAST, convolution


def unpool_conv2d(kernels, x, offsets, weight, bias, kernel_size, stride, padding, dilation, output_size, conv_padding, relu):
    size = [length + 2 * pad - kernel + 1 for length, pad, kernel in zip(output_size, conv_padding, weight.shape[2:], strict=True)]
    output = torch.empty((x.shape[0], weight.shape[0], *size), dtype=x.dtype, memory_format=LAST)
    kernels.call(
        "unpool_conv2d", x.dtype, x, offsets, weight.contiguous(memory_format=LAST), None if bias is None else bias.float(), relu,
        output, convolution(x, weight, output_size, conv_padding),
        geometry(output_size, x.shape[2:], kernel_size, stride, padding, dilation),
    )  # fmt: skip
    return output

import torch
from emulation.emulated import geometry

from wwae.reference.window import offset_dtype, pooled_sizes

LAST = torch.channels_last


def conv_relu_pool2d(
    kernels, x, weight, bias, kernel_size, stride, padding, dilation, ceil_mode, conv_stride, conv_padding, conv_dilation, groups
):  # fmt: skip
    window = (kernel_size, stride, padding, dilation)
    size = [length + 2 * pad - kernel + 1 for length, pad, kernel in zip(x.shape[2:], conv_padding, weight.shape[2:], strict=True)]
    windows = pooled_sizes(size, *window, ceil_mode)
    values = torch.empty((x.shape[0], weight.shape[0], *windows), dtype=x.dtype, memory_format=LAST)
    offsets = torch.empty(values.shape, dtype=offset_dtype(kernel_size), memory_format=LAST)
    kernels.call(
        "conv_relu_pool2d", x.dtype, x, weight.contiguous(memory_format=LAST), None if bias is None else bias.float(), values,
        offsets, convolution(x, weight, x.shape[2:], conv_padding), geometry(size, windows, *window),
    )  # fmt: skip
    return values, offsets


def convolution(x, weight, size, padding):
    """What `convolution_of` of convolution.h takes, for a map of `size` with the images and channels of `x`."""
    return (x.shape[0], *size, x.shape[1], weight.shape[0], *weight.shape[2:], *padding)

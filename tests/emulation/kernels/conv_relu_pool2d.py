import torch
from emulation.convolution import channels_last, convolution, convolved_size, empty, require, require_half, wide
from emulation.emulated import geometry

from wwae.reference.window import memory_format, pooled_sizes


def conv_relu_pool2d(
    kernels, x, weight, bias, kernel_size, stride, padding, dilation, ceil_mode, conv_stride, conv_padding, conv_dilation, groups
):  # fmt: skip
    require_half("conv_relu_pool2d", x)
    plain = groups == 1 and max(*conv_stride, *conv_dilation) == 1
    require("conv_relu_pool2d", plain, "conv_stride 1, conv_dilation 1 and groups 1")
    extents = [(kernel - 1) * step + 1 for kernel, step in zip(kernel_size, dilation, strict=True)]
    require("conv_relu_pool2d", max(extents) <= 16, "windows that span at most 16 positions")
    taps, window = weight.shape[2:], (kernel_size, stride, padding, dilation)
    size = convolved_size(x.shape[2:], taps, conv_padding)
    windows = pooled_sizes(size, *window, ceil_mode)
    values = empty((x.shape[0], weight.shape[0], *windows), x.dtype)
    offsets = empty(values.shape, torch.uint8)
    kernels.call(
        "conv_relu_pool2d", x.dtype, channels_last(x), channels_last(weight), wide(bias), values, offsets,
        convolution(x, weight.shape[0], x.shape[2:], taps, conv_padding), geometry(size, windows, *window),
    )  # fmt: skip
    layout = memory_format(x)
    return values.contiguous(memory_format=layout), offsets.contiguous(memory_format=layout)

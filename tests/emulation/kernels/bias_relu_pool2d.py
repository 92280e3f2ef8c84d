import torch
from emulation.emulated import geometry, interleaving

from wwae.reference.window import accumulation_dtype, memory_format, offset_dtype, pooled_sizes


def bias_relu_pool2d(kernels, x, bias, kernel_size, stride, padding, dilation, ceil_mode):
    layout = memory_format(x)
    window = (kernel_size, stride, padding, dilation)
    windows = pooled_sizes(x.shape[-2:], *window, ceil_mode)
    size = (*x.shape[:2], *windows)
    values = torch.empty(size, dtype=x.dtype, memory_format=layout)
    offsets = torch.empty(size, dtype=kernels.offset_dtype or offset_dtype(kernel_size), memory_format=layout)
    kernels.call(
        "bias_relu_pool2d", x.dtype, offsets.element_size(), x, bias.to(accumulation_dtype(x.dtype)), values, offsets,
        geometry(x.shape[-2:], windows, *window), *interleaving(x), x.shape[1],
    )  # fmt: skip
    return values, offsets

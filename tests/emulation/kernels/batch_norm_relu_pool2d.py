import torch
from emulation.emulated import geometry, interleaving

from wwae.reference.window import accumulation_dtype, memory_format, offset_dtype, pooled_sizes


def batch_norm_relu_pool2d(
    kernels, x, weight, bias, mean, variance, eps, kernel_size, stride, padding, dilation, ceil_mode
):  # fmt: skip
    layout, wide = memory_format(x), accumulation_dtype(x.dtype)
    window = (kernel_size, stride, padding, dilation)
    windows = pooled_sizes(x.shape[-2:], *window, ceil_mode)
    size = (*x.shape[:2], *windows)
    values = torch.empty(size, dtype=x.dtype, memory_format=layout)
    offsets = torch.empty(size, dtype=kernels.offset_dtype or offset_dtype(kernel_size), memory_format=layout)
    training = mean is None
    used = [torch.empty(x.shape[1], dtype=wide) if training else given.to(wide, copy=True) for given in (mean, variance)]
    if values.numel() == 0:
        return values, offsets, *(t.fill_(torch.nan) if training else t for t in used)
    kernels.call(
        "batch_norm_relu_pool2d", x.dtype, offsets.element_size(), x, weight.to(wide), bias.to(wide), *used, training,
        float(eps), values, offsets, geometry(x.shape[-2:], windows, *window), *interleaving(x), *x.shape[:2],
        layout == torch.channels_last,
    )  # fmt: skip
    return values, offsets, *used

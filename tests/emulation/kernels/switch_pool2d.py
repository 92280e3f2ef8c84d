import torch
from emulation.emulated import geometry, interleaving

from wwae.reference.window import memory_format, offset_dtype, pooled_sizes


def pool(kernels, x, window, ceil_mode, with_indices):
    layout = memory_format(x)
    windows = pooled_sizes(x.shape[-2:], *window, ceil_mode)
    size = (*x.shape[:2], *windows)
    values = torch.empty(size, dtype=x.dtype, memory_format=layout)
    indices = torch.empty(size, dtype=torch.int64, memory_format=layout) if with_indices else None
    offsets = torch.empty(size, dtype=kernels.offset_dtype or offset_dtype(window[0]), memory_format=layout)
    kernels.call(
        "switch_pool2d", x.dtype, offsets.element_size(), x, values, offsets, indices,
        geometry(x.shape[-2:], windows, *window), *interleaving(x),
    )  # fmt: skip
    return values, indices, offsets


def switch_pool2d(kernels, x, kernel_size, stride, padding, dilation, ceil_mode):
    values, _, offsets = pool(kernels, x, (kernel_size, stride, padding, dilation), ceil_mode, with_indices=False)
    return values, offsets

import torch
from emulation.emulated import geometry, interleaving

from wwae.reference.taps import empty_pairs
from wwae.reference.window import memory_format, pooled_sizes


def beta_arguments(beta, x):
    """beta, its strides, and the number of planes of an image that the kernels do not see."""
    planes = x.size(1) if memory_format(x) == torch.contiguous_format else 0
    return beta, beta.stride(0), beta.stride(1), planes


def soft_argmax_pool2d(kernels, x, beta, kernel_size, stride, padding):
    layout = memory_format(x)
    windows = pooled_sizes(x.shape[-2:], kernel_size, stride, padding, (1, 1), False)
    what = torch.empty((*x.shape[:2], *windows), dtype=x.dtype, memory_format=layout)
    where = empty_pairs(x, windows, beta.dtype, layout)
    kernels.call(
        "soft_argmax_pool2d", x.dtype, x, *beta_arguments(beta, x), what, where,
        geometry(x.shape[-2:], windows, kernel_size, stride, padding, (1, 1)), *interleaving(x),
    )  # fmt: skip
    return what, where

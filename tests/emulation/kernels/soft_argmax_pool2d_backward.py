import torch
from emulation.emulated import geometry, interleaving
from emulation.kernels.soft_argmax_pool2d import beta_arguments

from wwae.reference.taps import pairs_in_layout
from wwae.reference.window import memory_format


def soft_argmax_pool2d_backward(kernels, x, beta, grad_what, grad_where, kernel_size, stride, padding, beta_grad):
    layout = memory_format(x)
    windows = grad_what.shape[-2:]
    grad_what = grad_what.contiguous(memory_format=layout)
    grad_where = pairs_in_layout(grad_where, layout)
    tiled = padding == (0, 0) and kernel_size == stride
    tiled = tiled and all(size == o * k for size, o, k in zip(x.shape[-2:], windows, kernel_size, strict=True))
    images, channels = interleaving(x)
    grad_x = torch.empty(x.shape, dtype=x.dtype, memory_format=layout)
    grad_beta = torch.empty(x.shape[:2], dtype=beta.dtype) if beta_grad else torch.zeros(x.shape[:2], dtype=beta.dtype)
    numbers = None if tiled else torch.empty(5, grad_what.numel(), dtype=beta.dtype)
    sums = torch.empty(grad_what.numel(), dtype=beta.dtype) if beta_grad else None
    lines = torch.empty(images * windows[0] * channels, dtype=beta.dtype) if beta_grad else None
    kernels.call(
        "soft_argmax_pool2d_backward", x.dtype, x, *beta_arguments(beta, x), grad_what, grad_where, grad_x, numbers,
        grad_what.numel(), sums, lines, grad_beta if beta_grad else None,
        geometry(x.shape[-2:], windows, kernel_size, stride, padding, (1, 1)), images, channels,
    )  # fmt: skip
    return grad_x, grad_beta

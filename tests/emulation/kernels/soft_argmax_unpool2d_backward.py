import torch
from emulation.emulated import geometry, interleaving

from wwae.reference.taps import empty_pairs, pairs_in_layout
from wwae.reference.window import memory_format


def soft_argmax_unpool2d_backward(kernels, what, where, grad, kernel_size, stride, padding):
    layout = memory_format(what)
    where, grad = pairs_in_layout(where, layout), grad.contiguous(memory_format=layout)
    grad_what = torch.empty(what.shape, dtype=what.dtype, memory_format=layout)
    grad_where = empty_pairs(what, what.shape[-2:], where.dtype, layout)
    kernels.call(
        "soft_argmax_unpool2d_backward", what.dtype, what, where, grad, grad_what, grad_where,
        geometry(grad.shape[-2:], what.shape[-2:], kernel_size, stride, padding, (1, 1)), *interleaving(what),
    )  # fmt: skip
    return grad_what, grad_where

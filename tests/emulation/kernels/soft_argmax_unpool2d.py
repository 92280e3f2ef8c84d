import torch
from emulation.emulated import geometry, interleaving

from wwae.reference.taps import pairs_in_layout
from wwae.reference.window import memory_format


def soft_argmax_unpool2d(kernels, what, where, kernel_size, stride, padding, output_size):
    layout = memory_format(what)
    where = pairs_in_layout(where, layout)
    output = torch.empty((*what.shape[:2], *output_size), dtype=what.dtype, memory_format=layout)
    kernels.call(
        "soft_argmax_unpool2d", what.dtype, what, where, output,
        geometry(output_size, what.shape[-2:], kernel_size, stride, padding, (1, 1)), *interleaving(what),
    )  # fmt: skip
    return output

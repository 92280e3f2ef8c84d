import torch
from emulation.emulated import OVERLAPS, geometry, interleaving

from wwae.reference.window import memory_format


def switch_unpool2d(kernels, x, offsets, kernel_size, stride, padding, dilation, output_size, overlap):
    layout = memory_format(x)
    offsets = offsets.contiguous(memory_format=layout)
    output = torch.empty((*x.shape[:2], *output_size), dtype=x.dtype, memory_format=layout)
    kernels.call(
        "switch_unpool2d", x.dtype, offsets.element_size(), x, offsets, output,
        geometry(output_size, x.shape[-2:], kernel_size, stride, padding, dilation), *interleaving(x), OVERLAPS[overlap],
    )  # fmt: skip
    return output

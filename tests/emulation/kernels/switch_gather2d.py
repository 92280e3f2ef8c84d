import torch
from emulation.emulated import OVERLAPS, geometry, interleaving

from wwae.reference.window import memory_format


def switch_gather2d(kernels, x, offsets, kernel_size, stride, padding, dilation, overlap):
    layout = memory_format(x)
    offsets = offsets.contiguous(memory_format=layout)
    output = torch.empty(offsets.shape, dtype=x.dtype, memory_format=layout)
    # As the host function does: disjoint windows never meet.
    axes = zip(kernel_size, stride, dilation, strict=True)
    disjoint = all(step >= (kernel - 1) * dilated + 1 for kernel, step, dilated in axes)
    kernels.call(
        "switch_gather2d", x.dtype, offsets.element_size(), x, offsets, output,
        geometry(x.shape[-2:], offsets.shape[-2:], kernel_size, stride, padding, dilation), *interleaving(x),
        OVERLAPS["sum" if disjoint else overlap],
    )  # fmt: skip
    return output

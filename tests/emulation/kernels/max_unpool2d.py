import torch
from emulation.emulated import interleaving

from wwae.reference.window import memory_format


def plane(x):
    return x.size(2) * x.size(3)


def max_unpool2d(kernels, x, indices, output_size):
    layout = memory_format(x)
    indices = indices.contiguous(memory_format=layout)
    output = torch.empty((*x.shape[:2], *output_size), dtype=x.dtype, memory_format=layout)
    kernels.call("max_unpool2d", x.dtype, kernels.wide_owners, x, indices, output, plane(x), plane(output), *interleaving(x))
    return output

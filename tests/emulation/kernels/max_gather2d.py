import torch
from emulation.emulated import interleaving
from emulation.kernels.max_unpool2d import plane

from wwae.reference.window import memory_format


def max_gather2d(kernels, x, indices):
    layout = memory_format(x)
    indices = indices.contiguous(memory_format=layout)
    output = torch.empty(indices.shape, dtype=x.dtype, memory_format=layout)
    kernels.call("max_gather2d", x.dtype, kernels.wide_owners, x, indices, output, plane(indices), plane(x), *interleaving(x))
    return output

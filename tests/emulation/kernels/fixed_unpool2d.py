import torch
from emulation.emulated import interleaving

from wwae.reference.window import memory_format


def fixed_unpool2d(kernels, x, stride, position, output_size):
    output = torch.empty((*x.shape[:2], *output_size), dtype=x.dtype, memory_format=memory_format(x))
    sizes = (*output_size, *x.shape[-2:], *stride, *position)
    kernels.call("fixed_unpool2d", x.dtype, x, output, sizes, *interleaving(x))
    return output

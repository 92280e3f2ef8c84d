import torch
from emulation.emulated import geometry, interleaving

from wwae.reference.window import accumulation_dtype, memory_format


def bias_relu_pool2d_backward(kernels, grad, values, offsets, kernel_size, stride, padding, dilation, input_size):
    layout = memory_format(grad)
    values, offsets = (tensor.contiguous(memory_format=layout) for tensor in (values, offsets))
    output = torch.empty((*grad.shape[:2], *input_size), dtype=grad.dtype, memory_format=layout)
    bias = torch.empty(grad.shape[1], dtype=accumulation_dtype(grad.dtype))
    if grad.numel() == 0:
        return output.zero_(), bias.zero_()
    kernels.call(
        "bias_relu_pool2d_backward", grad.dtype, offsets.element_size(), grad, values, offsets, output, bias,
        geometry(input_size, grad.shape[-2:], kernel_size, stride, padding, dilation), *interleaving(grad), *grad.shape[:2],
        layout == torch.channels_last,
    )  # fmt: skip
    return output, bias

import torch
from emulation.emulated import geometry, interleaving

from wwae.reference.window import accumulation_dtype, memory_format


def batch_norm_relu_pool2d_backward(
    kernels, grad, values, offsets, x, mean, variance, weight, training, eps, kernel_size, stride, padding, dilation
):  # fmt: skip
    layout, wide = memory_format(grad), accumulation_dtype(grad.dtype)
    values, offsets, x = (tensor.contiguous(memory_format=layout) for tensor in (values, offsets, x))
    output = torch.empty(x.shape, dtype=x.dtype, memory_format=layout)
    grad_weight, grad_bias = (torch.empty(x.shape[1], dtype=wide) for _ in range(2))
    if grad.numel() == 0:
        return output.zero_(), grad_weight.zero_(), grad_bias.zero_()
    kernels.call(
        "batch_norm_relu_pool2d_backward", grad.dtype, offsets.element_size(), grad, values, offsets, x, mean.to(wide),
        variance.to(wide), weight.to(wide), training, float(eps), output, grad_weight, grad_bias,
        geometry(x.shape[-2:], grad.shape[-2:], kernel_size, stride, padding, dilation), *interleaving(grad), *x.shape[:2],
        layout == torch.channels_last,
    )  # fmt: skip
    return output, grad_weight, grad_bias

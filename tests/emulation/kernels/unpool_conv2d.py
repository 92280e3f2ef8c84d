from emulation.convolution import channels_last, convolution, convolved_size, empty, require_half, wide
from emulation.emulated import geometry

from wwae.reference.window import memory_format


def unpool_conv2d(kernels, x, offsets, weight, bias, kernel_size, stride, padding, dilation, output_size, conv_padding, relu):
    require_half("unpool_conv2d", x)
    taps = weight.shape[2:]
    output = empty((x.shape[0], weight.shape[0], *convolved_size(output_size, taps, conv_padding)), x.dtype)
    kernels.call(
        "unpool_conv2d", x.dtype, channels_last(x), channels_last(offsets), channels_last(weight), wide(bias), relu, output,
        convolution(x, weight.shape[0], output_size, taps, conv_padding),
        geometry(output_size, x.shape[2:], kernel_size, stride, padding, dilation),
    )  # fmt: skip
    return output.contiguous(memory_format=memory_format(x))

from emulation.kernels.switch_pool2d import pool


def max_pool2d(kernels, x, kernel_size, stride, padding, dilation, ceil_mode):
    return pool(kernels, x, (kernel_size, stride, padding, dilation), ceil_mode, with_indices=True)

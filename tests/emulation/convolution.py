"""What the entries of the convolutions share: the host functions in csrc/cuda do the same to their tensors."""

import torch

CHANNELS_LAST = torch.channels_last


def channels_last(tensor):
    return tensor.contiguous(memory_format=CHANNELS_LAST)


def empty(shape, dtype):
    return torch.empty(shape, dtype=dtype, memory_format=CHANNELS_LAST)


def wide(bias):
    return None if bias is None else bias.float()


def require(operation, condition, words):
    """A kernel that does not apply says so."""
    if not condition:
        raise RuntimeError(f"{operation}: the CUDA kernel takes {words}")


def require_half(operation, x):
    require(operation, x.dtype in (torch.bfloat16, torch.float16), f"x of dtype bfloat16 or float16, got {x.dtype}")


def convolved_size(size, kernel_size, padding):
    return [length + 2 * pad - kernel + 1 for length, kernel, pad in zip(size, kernel_size, padding, strict=True)]


def convolution(x, outputs, size, kernel_size, padding):
    """What `convolution_of` of convolution.h takes, for a map of `size` with the images and channels of `x`."""
    return (x.shape[0], *size, x.shape[1], outputs, *kernel_size, *padding)

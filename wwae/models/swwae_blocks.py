"""The convolutions of a stacked what-where auto-encoder, alone and together with the pooling or unpooling beside them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from wwae.models.unpooled_deconvolution import unpooled_deconvolution
from wwae.nn import SwitchPool2d
from wwae.nn.batch_norm_relu_pool2d import normalised_relu_pool
from wwae.ops import Switches, bias_relu_pool2d, conv_relu_pool2d

__all__ = ["ConvolutionBlock", "DeconvolutionBlock"]


class ConvolutionBlock(nn.Module):
    """Convolution with "same" padding ((k - 1) // 2 at the left and top, the rest at the other sides), and ReLU."""

    def __init__(self, in_maps: int, out_maps: int, kernel_size: int, batch_norm: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_maps, out_maps, kernel_size, padding=kernel_size // 2, bias=not batch_norm)
        self.norm = nn.BatchNorm2d(out_maps) if batch_norm else nn.Identity()
        self.is_even = kernel_size % 2 == 0

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self._same(self.convolution(x))))

    def pooled(self, x: Tensor, pool: SwitchPool2d) -> tuple[Tensor, Switches]:
        """``pool(self(x))`` without the map between them."""
        weight, bias = self.convolution.weight, self.convolution.bias
        window = (pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode)
        if isinstance(self.norm, nn.BatchNorm2d):
            return normalised_relu_pool(self.norm, pool, self._same(self.convolution(x)))
        if self.is_even:
            assert bias is not None
            return bias_relu_pool2d(self._same(self.convolution._conv_forward(x, weight, None)), bias, *window)
        return conv_relu_pool2d(x, weight, bias, *window, conv_padding=weight.shape[-1] // 2)

    def _same(self, x: Tensor) -> Tensor:
        return x[:, :, 1:, 1:] if self.is_even else x


class DeconvolutionBlock(nn.Module):
    """The transpose of a :class:`ConvolutionBlock`'s convolution, with its own weight or a tied one."""

    def __init__(self, in_maps: int, out_maps: int, kernel_size: int, batch_norm: bool, relu: bool, tied: bool) -> None:
        super().__init__()
        self.padding = (kernel_size - 1) // 2
        self.deconvolution = nn.ConvTranspose2d(in_maps, out_maps, kernel_size, padding=self.padding, bias=not batch_norm)
        if tied:
            self.deconvolution.register_parameter("weight", None)
        self.norm = nn.BatchNorm2d(out_maps) if batch_norm else nn.Identity()
        self.is_even = kernel_size % 2 == 0
        self.relu = relu

    def forward(self, x: Tensor, tied_weight: Tensor | None) -> Tensor:
        weight = self.deconvolution.weight if tied_weight is None else tied_weight
        x = F.conv_transpose2d(x, weight, self.deconvolution.bias, padding=self.padding)
        if self.is_even:
            x = x[:, :, :-1, :-1]
        x = self.norm(x)
        return F.relu(x) if self.relu else x

    def unpooled(self, x: Tensor, switches: Switches, tied_weight: Tensor | None) -> Tensor:
        """``self(switch_unpool2d(x, switches))`` for an odd kernel, without the map between them where a fused kernel wins."""
        weight = self.deconvolution.weight if tied_weight is None else tied_weight
        if isinstance(self.norm, nn.Identity):
            return unpooled_deconvolution(x, switches, weight, self.deconvolution.bias, self.padding, self.relu)
        x = self.norm(unpooled_deconvolution(x, switches, weight, self.deconvolution.bias, self.padding, relu=False))
        return F.relu(x) if self.relu else x

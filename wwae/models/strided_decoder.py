"""The mirror of a first layer that strides: Zhang, Lee and Lee (2016, arXiv:1606.06582), section 4.2, footnote 2.

A stride of 4 stands for two more pools, so AlexNet's ``conv1`` is inverted by three deconvolutions instead of one, which would
leave gaps between the places that unpooling fills.
"""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from wwae.models.classifier_graph import Convolution
from wwae.models.decoder import Deconvolution, unpool
from wwae.models.macro_layers import MacroLayer
from wwae.ops import Switches
from wwae.reference.window import Pair

__all__ = ["StridedDecoder"]

MAPS = 48
"""Between the second and the third deconvolution (the authors' released configuration)."""

LARGEST_KERNEL = 5
"""Of the first and the third one (the same)."""


class StridedDecoder(nn.Module):
    """Unpooling, then three deconvolutions: stride 1, the mirror of the strided one to 48 maps, and stride 1 to the images.

    A ReLU follows each but the last. The outer two have 5x5 kernels, or the kernel of the convolution if that is smaller.

    Args:
        layer (MacroLayer): the one that reads the images, of one convolution and at most one pool.

    Raises:
        ValueError: it has more convolutions.
    """

    def __init__(self, layer: MacroLayer) -> None:
        super().__init__()
        if len(layer.convolutions) != 1:
            raise ValueError(f"StridedDecoder: expected one convolution in {layer.name}, got {len(layer.convolutions)}")
        self.layer = layer
        first: Convolution = layer.convolutions[0].detail
        extent = min(LARGEST_KERNEL, *first.kernel_size)
        kernel, padding = (extent, extent), (extent // 2, extent // 2)
        smooth = replace(first, kernel_size=kernel, stride=(1, 1), padding=padding, same=False, dilation=(1, 1), groups=1)
        maps, images = first.out_channels, first.in_channels
        before = Deconvolution(replace(smooth, in_channels=maps, out_channels=maps))
        strided = Deconvolution(replace(first, in_channels=MAPS))
        after = Deconvolution(replace(smooth, in_channels=images, out_channels=MAPS))
        self.deconvolutions = nn.ModuleDict({"before": before, "strided": strided, "after": after})

    def forward(self, top: Tensor, output_size: Pair, switches: dict[int, Switches] | None) -> Tensor:
        """Map the end of the macro-layer to images, as :meth:`wwae.models.decoder.MacroDecoder.forward`."""
        sizes = self.layer.sizes(output_size)
        for position in self.layer.pools:
            operation = self.layer.operations[position]
            size = sizes[operation.inputs[0]]
            top = unpool(top, operation.detail, size, None if switches is None else switches[position])
        before, strided, after = self.deconvolutions.values()
        top = F.relu(before(top))
        return after(F.relu(strided(top, list(output_size))))

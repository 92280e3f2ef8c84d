"""The mirror of one macro-layer: Zhang, Lee and Lee (2016, arXiv:1606.06582), section 3.2 and figure 1.

A macro-layer is a graph of operations; its decoder is that graph with every arrow turned around. A convolution becomes a
deconvolution with the widths exchanged, pooling becomes unpooling, concatenation becomes splitting, and a map that several branches
read becomes the sum of what they hand back. For a plain chain this is figure 1: unpooling, then as many deconvolutions as there are
convolutions. A mirrored map passes through the nonlinearity that its original has passed: with ReLU networks, a ReLU after each
deconvolution but the last of all, which gives the images.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Literal, cast

import torch.nn.functional as F
from torch import Tensor, nn

from wwae.models.classifier_graph import Convolution, Window
from wwae.models.macro_layers import MacroLayer
from wwae.models.unpooled_deconvolution import unpooled_deconvolution
from wwae.nn.fused_sequential import is_watched
from wwae.ops import Switches, fixed_unpool2d, switch_unpool2d
from wwae.reference.window import Pair, spatial_size

__all__ = ["WEIGHT_STD", "Deconvolution", "MacroDecoder", "SwitchKind", "unpool"]

SwitchKind = Literal["known", "fixed"]

WEIGHT_STD = 0.001
"""Of a new decoder's weights, which are Gaussian; its biases are 0 (the authors' released configuration)."""


class Deconvolution(nn.ConvTranspose2d):
    """Transposed convolution with the geometry of a given convolution, and weights of its own."""

    def __init__(self, mirrored: Convolution) -> None:
        super().__init__(
            mirrored.out_channels,
            mirrored.in_channels,
            mirrored.kernel_size,
            mirrored.stride,
            mirrored.padding,
            groups=mirrored.groups,
            dilation=mirrored.dilation,
            device=mirrored.device,
            dtype=mirrored.dtype,
        )

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=WEIGHT_STD)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to the spatial ``output_size``, that of the map which the mirrored convolution read."""
        if output_size is None:
            return super().forward(input)
        missing = [
            size - ((n - 1) * stride - 2 * cast(int, padding) + dilation * (kernel - 1) + 1)
            for size, n, stride, padding, dilation, kernel in zip(
                output_size, spatial_size(input), self.stride, self.padding, self.dilation, self.kernel_size, strict=True
            )
        ]
        added = [max(each, 0) for each in missing]
        padding = cast(Pair, self.padding)
        whole = F.conv_transpose2d(input, self.weight, self.bias, self.stride, padding, added, self.groups, self.dilation)
        # "Same" padding of an even kernel has one element more at the bottom and right.
        return whole[..., : output_size[0], : output_size[1]] if min(missing) < 0 else whole

    def unpooled(self, input: Tensor, switches: Switches, relu: bool) -> Tensor:
        """What it makes of the unpooled ``input``, and ReLU where wanted; for one that mirrors a plain convolution."""
        return unpooled_deconvolution(input, switches, self.weight, self.bias, cast(Pair, self.padding), relu)


class MacroDecoder(nn.Module):
    """``f_l^dec``: maps the end of a macro-layer back to its input.

    Its deconvolutions are named after the convolutions they mirror, with underscores for dots.

    Args:
        layer (MacroLayer): to mirror.
        fuse (bool): run each unpooling with switches together with the deconvolution after it, where that is possible.
    """

    def __init__(self, layer: MacroLayer, fuse: bool = True) -> None:
        super().__init__()
        self.layer = layer
        self._after_unpooling = _deconvolutions_after_unpooling(layer) if fuse else {}
        self.deconvolutions = nn.ModuleDict()
        self.activations = nn.ModuleDict()
        self._names: dict[int, str] = {}
        for position, operation in reversed(list(enumerate(layer.operations))):
            if operation.kind in ("convolution", "activation"):
                name = operation.place.replace(".", "_").replace(" ", "_")
                modules = self.deconvolutions if operation.kind == "convolution" else self.activations
                self._names[position] = name if name not in modules else f"{name}_call{operation.call}"
                is_convolution = operation.kind == "convolution"
                module = Deconvolution(operation.detail) if is_convolution else copy.deepcopy(operation.detail)
                modules[self._names[position]] = module
        self.last_activation = copy.deepcopy(layer.activation)

    def forward(self, top: Tensor, output_size: Pair, switches: dict[int, Switches] | None) -> Tensor:
        """Reconstruct the input of the macro-layer.

        Args:
            top (Tensor[N, C, OH, OW]): the macro-layer's result, or a reconstruction of it.
            output_size (pair): height and width of the macro-layer's input.
            switches (dict[int, Switches] | None): of each pool, by its position among the operations; None unpools each value to
                the tap ``k // 2`` of its window.

        Returns:
            Tensor[N, channels, \\*output_size].
        """
        sizes = self.layer.sizes(output_size)
        sums: dict[int, Tensor] = {len(self.layer.operations): top}
        # Maps that a deconvolution has gone into since their last nonlinearity: the others have had theirs.
        linear: dict[int, bool] = {}
        # Switches of the pooled values that go on to a deconvolution, which unpools them itself.
        held: dict[int, Switches] = {}
        for position in reversed(range(len(self.layer.operations))):
            operation = self.layer.operations[position]
            value, is_linear = sums.pop(position + 1), linear.pop(position + 1, False)
            size = sizes[operation.inputs[0]]
            parts = [value] * len(operation.inputs)
            if position in held:
                relu = self._relu_after(position)
                deconvolution = cast(Deconvolution, self.deconvolutions[self._names[position]])
                parts, is_linear = [deconvolution.unpooled(value, held.pop(position), relu)], not relu
            elif operation.kind == "convolution":
                parts, is_linear = [self.deconvolutions[self._names[position]](value, list(size))], True
            elif operation.kind == "activation":
                parts, is_linear = [self.activations[self._names[position]](value) if is_linear else value], False
            elif switches is not None and not is_linear and self._unpools(position):
                held[self._after_unpooling[position]] = switches[position]
            elif operation.kind == "pool":
                parts = [unpool(value, operation.detail, size, None if switches is None else switches[position])]
            elif operation.kind == "cat":
                parts = list(value.split([self.layer.channels[each] for each in operation.inputs], dim=1))
            for each, part in zip(operation.inputs, parts, strict=True):
                sums[each] = sums[each] + part if each in sums else part
                linear[each] = linear.get(each, False) or is_linear
        image = sums[0]
        return self.last_activation(image) if self.last_activation is not None and linear[0] else image

    def _unpools(self, position: int) -> bool:
        """Whether what a pool gave is unpooled by the deconvolution after it."""
        after = self._after_unpooling.get(position)
        return after is not None and not is_watched(self.deconvolutions[self._names[after]])

    def _relu_after(self, position: int) -> bool:
        """Whether a deconvolution has its ReLU at once."""
        source = self.layer.operations[position].inputs[0]
        activation = self.last_activation
        if source > 0:
            is_activation = self.layer.operations[source - 1].kind == "activation"
            activation = self.activations[self._names[source - 1]] if is_activation else None
        return type(activation) is nn.ReLU and not is_watched(activation) and _readers(self.layer)[source] == 1


def _readers(layer: MacroLayer) -> Counter[int]:
    """How many operations read the input, at 0, and each result."""
    return Counter(each for operation in layer.operations for each in operation.inputs)


def _deconvolutions_after_unpooling(layer: MacroLayer) -> dict[int, int]:
    """For each pool whose windows lie apart, the plain convolution before it, where nothing else reads the maps between."""
    readers, found = _readers(layer), {}
    for position, pool in enumerate(layer.operations):
        if pool.kind != "pool" or any(s < (k - 1) * d + 1 for s, k, d in zip(*_window(pool.detail), strict=True)):
            continue
        value = pool.inputs[0]
        while value > 0 and readers[value] == 1 and layer.operations[value - 1].kind == "activation":
            value = layer.operations[value - 1].inputs[0]
        if value > 0 and readers[value] == 1 and _is_plain(layer.operations[value - 1].detail):
            found[position] = value - 1
    return found


def _window(window: Window) -> tuple[Pair, Pair, Pair]:
    return window.stride, window.kernel_size, window.dilation


def _is_plain(convolution: object) -> bool:
    """Whether it is a convolution whose transpose is one as well, with weights mirrored."""
    if not isinstance(convolution, Convolution) or convolution.groups != 1:
        return False
    if convolution.same and any(kernel % 2 == 0 for kernel in convolution.kernel_size):
        return False
    steps = (*convolution.stride, *convolution.dilation)
    pads = zip(convolution.padding, convolution.kernel_size, strict=True)
    return max(steps) == 1 and all(padding < kernel for padding, kernel in pads)


def unpool(x: Tensor, window: Window, size: Pair, switches: Switches | None) -> Tensor:
    """Unpool to the spatial ``size``: to the switches, averaged where windows overlap, or without any to the tap ``k // 2``."""
    if switches is not None:
        return switch_unpool2d(x, switches, overlap="mean")
    position = [
        kernel // 2 * dilation - padding
        for kernel, dilation, padding in zip(window.kernel_size, window.dilation, window.padding, strict=True)
    ]
    # The tap alone counts, so the extent of the window may be the one that gives the size which was pooled.
    extent = [
        max(length - (n - 1) * stride, tap + 1)
        for length, n, stride, tap in zip(size, spatial_size(x), window.stride, position, strict=True)
    ]
    return fixed_unpool2d(x, extent, window.stride, position=position)[..., : size[0], : size[1]]

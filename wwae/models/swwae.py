"""Stacked what-where auto-encoder.

Zhao, Mathieu, Goroshin, LeCun: Stacked What-Where Auto-encoders (2015, arXiv:1506.02351).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, cast, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from wwae.models.architecture import Convolution, Pooling, parse_architecture
from wwae.models.swwae_blocks import ConvolutionBlock, DeconvolutionBlock
from wwae.nn import SoftArgmaxPool2d, SwitchPool2d
from wwae.nn.fused_sequential import is_watched
from wwae.ops import Switches, fixed_unpool2d, soft_argmax_unpool2d, switch_unpool2d

__all__ = ["SWWAE", "SWWAEOutput", "Unpooling"]

Unpooling = Literal["known", "fixed", "upsample"]


class Positions(NamedTuple):
    """The "where" of soft pooling: continuous, and differentiable."""

    where: Tensor
    """(N, C, OH, OW, 2): (x, y) in [-1, 1] of each window."""
    kernel_size: tuple[int, int]
    input_size: tuple[int, int]

    @property
    def stride(self) -> tuple[int, int]:
        """Windows lie side by side."""
        return self.kernel_size


Where = Switches | Positions


class SWWAEOutput(NamedTuple):
    """What :class:`SWWAE` computes for a batch of N images.

    ``encoder_maps[i]`` and ``decoder_maps[i]`` are the two sides of one middle term of eq. 2, the nearest to the image
    first.
    """

    logits: Tensor | None
    """(N, classes): unnormalised class scores; None for an architecture without fully-connected layers."""
    reconstruction: Tensor
    """(N, C, H, W): the decoder's image."""
    encoder_maps: tuple[Tensor, ...]
    """x_m: the "what" that a pooling layer gave to the next layer."""
    decoder_maps: tuple[Tensor, ...]
    """The decoder's x~_m of the same shape: what it hands to the unpooling layer of the same stage."""


class SWWAE(nn.Module):
    """Convolutional network with a decoder that mirrors it, stage by stage.

    The encoder is the architecture as written: convolutions with "same" padding and a ReLU each, and max pooling whose
    values (the "what") go up and whose switches (the "where") go across. On top of it stand the fully-connected layers,
    with a ReLU between them and dropout before each. The decoder starts from the encoder's top map (below the
    fully-connected layers) and undoes the layers in reverse: an unpooling for each pooling, a transposed convolution
    for each convolution, with a ReLU after all but the last.

    Middle maps (section 3.3, eq. 2): one pair for each pooling layer that has a convolution above it, because the
    decoder's version of the topmost map is that map itself. No side of a pair is detached.

    A pooling layer whose size does not divide its map pools a narrower window at the right and bottom edge, so that
    every pixel is in a window. With ``unpool="fixed"`` such a window drops its value where the fixed tap lies outside
    the map. Soft pooling has no narrower windows: its sizes have to divide.

    Args:
        architecture (str): the notation of :func:`wwae.models.parse_architecture`; at least one convolution.
        in_channels (int): channels of the images.
        image_size (int | tuple[int, int]): height and width of the images.
        pooling ("hard" | "soft"): max and argmax of each window; or their soft versions (eq. 3, 4), whose "where" is
            continuous and takes part in the gradient.
        unpool ("known" | "fixed" | "upsample"): where the decoder puts a value: at the recorded switch, with soft
            pooling split over the four taps around the recorded position; at the tap ``k // 2`` of every window; at
            every tap (section 4.1).
        beta (float): sharpness of soft pooling, at least 0; the paper takes 100 (section 4.2). Hard pooling ignores it.
        batch_norm (bool): spatial batch normalisation after each convolution of both pathways (section 4.3.2).
        dropout (float): probability of zeroing an input of a fully-connected layer.
        tied (bool): the transposed convolutions use the encoder's weights; their biases stay their own.
        fuse (bool): run each convolution together with the hard pooling after it, and each known unpooling together with the
            transposed convolution after it, but for layers with a hook: the same numbers to rounding, less memory.

    Raises:
        ValueError: the notation is wrong, an argument is outside its range, or a pooling window is larger than its map.

    Example:
        >>> model = SWWAE("(16)5c-2p-(32)3c-2p-10fc", in_channels=1, image_size=32)
        >>> output = model(torch.rand(4, 1, 32, 32))
        >>> output.logits.shape, output.reconstruction.shape, [m.shape[1:] for m in output.encoder_maps]
        (torch.Size([4, 10]), torch.Size([4, 1, 32, 32]), [torch.Size([16, 16, 16])])
    """

    def __init__(
        self,
        architecture: str,
        in_channels: int,
        image_size: int | tuple[int, int],
        pooling: Literal["hard", "soft"] = "hard",
        unpool: Unpooling = "known",
        beta: float = 100.0,
        batch_norm: bool = False,
        dropout: float = 0.0,
        tied: bool = False,
        fuse: bool = True,
    ) -> None:
        super().__init__()
        layers = parse_architecture(architecture)
        if pooling not in ("hard", "soft"):
            raise ValueError(f"SWWAE: expected pooling to be 'hard' or 'soft', got {pooling!r}")
        if not any(isinstance(layer, Convolution) for layer in layers):
            raise ValueError(f"SWWAE: expected architecture with at least one convolution, got {architecture!r}")
        if in_channels < 1:
            raise ValueError(f"SWWAE: expected in_channels at least 1, got {in_channels}")
        self.image_size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise ValueError(f"SWWAE: expected image_size an int or a pair, at least 1, got {image_size}")
        self.architecture = architecture
        self.in_channels = in_channels
        _check_unpool(unpool)
        self.tied = tied
        self.unpool = unpool
        self.fuse = fuse

        self.encoder = nn.ModuleList()
        decoder: list[nn.Module] = []
        units: list[int] = []
        channels, (height, width) = in_channels, self.image_size
        for number, layer in enumerate(layers, start=1):
            if isinstance(layer, Convolution):
                self.encoder.append(ConvolutionBlock(channels, layer.maps, layer.kernel_size, batch_norm))
                last = not any(isinstance(module, DeconvolutionBlock) for module in decoder)
                decoder.append(DeconvolutionBlock(layer.maps, channels, layer.kernel_size, batch_norm, relu=not last, tied=tied))
                channels = layer.maps
            elif isinstance(layer, Pooling):
                if layer.kernel_size > min(height, width):
                    raise ValueError(
                        f"SWWAE: layer {number} ({layer}) of {architecture!r} pools {layer.kernel_size}x"
                        f"{layer.kernel_size} windows, but its map is only {height}x{width}"
                    )
                if pooling == "soft" and (height % layer.kernel_size or width % layer.kernel_size):
                    raise ValueError(
                        f"SWWAE: layer {number} ({layer}) of {architecture!r} is soft pooling, whose windows have to "
                        f"divide its map, {height}x{width}; choose another image_size or pooling='hard'"
                    )
                if pooling == "soft":
                    self.encoder.append(_SoftPooling(layer.kernel_size, beta))
                else:
                    self.encoder.append(SwitchPool2d(layer.kernel_size, ceil_mode=True))
                decoder.append(_Unpooling())
                height, width = -(-height // layer.kernel_size), -(-width // layer.kernel_size)
            else:
                units.append(layer.units)
        self.decoder = nn.ModuleList(reversed(decoder))
        self.classes = units[-1] if units else None
        self.classifier = _classifier(channels * height * width, units, dropout) if units else None

    def forward(self, x: Tensor) -> SWWAEOutput:
        """Encode, classify and reconstruct images.

        Args:
            x (Tensor[N, in_channels, H, W]): images of the size the model was made for.

        Raises:
            ValueError: ``x`` has another shape.
        """
        top, pooled, switches = self._encode(x)
        logits = None if self.classifier is None else self.classifier(top)
        reconstruction, decoder_maps = self._decode(top, switches, self.unpool)
        # Where the architecture ends in a pooling layer, the decoder starts from that layer's map: nothing to compare.
        return SWWAEOutput(logits, reconstruction, pooled[: len(decoder_maps)], decoder_maps)

    def classify(self, x: Tensor) -> Tensor:
        """Return the logits (N, classes) without running the decoder: the convnet of the same configuration.

        Raises:
            ValueError: ``x`` has another shape, or the architecture has no fully-connected layer.
        """
        if self.classifier is None:
            raise ValueError(f"SWWAE: architecture {self.architecture!r} has no fully-connected layer to classify with")
        return self.classifier(self._encode(x)[0])

    def reconstruct(self, x: Tensor, unpool: Unpooling) -> Tensor:
        """Return the decoder's images (N, in_channels, H, W) with any unpooling, to show what the switches are worth.

        With another unpooling than the network was made for, values are scaled so that each window still receives the
        same sum: a decoder trained on one tap of each k x k window gets 1 / k^2 of the value at every tap with
        ``"upsample"``, which is what it would get on average if the switch were drawn at random.

        Raises:
            ValueError: ``x`` has another shape, or ``unpool`` is none of the three.
        """
        _check_unpool(unpool)
        top, _, switches = self._encode(x)
        return self._decode(top, switches, unpool)[0]

    def _encode(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...], list[Where]]:
        """Return the top map, and the "what" and "where" of every pooling layer from the image up."""
        if x.dim() != 4 or tuple(x.shape[1:]) != (self.in_channels, *self.image_size):
            expected = ", ".join(str(n) for n in ("N", self.in_channels, *self.image_size))
            raise ValueError(f"SWWAE: expected x of shape [{expected}], got {list(x.shape)}")
        pooled: list[Tensor] = []
        switches: list[Where] = []
        waiting: ConvolutionBlock | None = None  # for the pooling after it
        for layer, following in zip(self.encoder, [*self.encoder[1:], None], strict=True):
            if isinstance(layer, ConvolutionBlock):
                if self.fuse and isinstance(following, SwitchPool2d) and not any(map(is_watched, (*layer.modules(), following))):
                    waiting = layer
                else:
                    x = layer(x)
                continue
            x, where = layer(x) if waiting is None else waiting.pooled(x, cast(SwitchPool2d, layer))
            waiting = None
            pooled.append(x)
            switches.append(where)
        return x, tuple(pooled), switches

    def _decode(self, x: Tensor, switches: list[Where], unpool: Unpooling) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the image, and what went into each unpooling layer (but one fed by the encoder), from the image up."""
        handed: list[Tensor] = []
        remaining = list(switches)
        waiting: Switches | None = None  # for the transposed convolution after the unpooling
        followings = [*self.decoder[1:], None]
        for number, (layer, following, mirrored) in enumerate(zip(self.decoder, followings, reversed(self.encoder), strict=True)):
            if isinstance(layer, _Unpooling):
                if number > 0:
                    handed.append(x)
                where = remaining.pop()
                if unpool != self.unpool:
                    x = x * (_taps(where, self.unpool) / _taps(where, unpool))
                if self.fuse and unpool == "known" and isinstance(where, Switches) and _follows_unpooling(layer, following):
                    waiting = where
                else:
                    x = layer(x, where, unpool)
            else:
                weight = mirrored.get_parameter("convolution.weight") if self.tied else None
                x = layer(x, weight) if waiting is None else cast(DeconvolutionBlock, layer).unpooled(x, waiting, weight)
                waiting = None
        return x, tuple(reversed(handed))


class _SoftPooling(SoftArgmaxPool2d):
    """Soft pooling whose positions know the windows they come from, as switches do."""

    def forward(self, input: Tensor) -> tuple[Tensor, Positions]:  # type: ignore[override]
        what, where = super().forward(input)
        size = input.shape[-1] // what.shape[-1]  # of a window; windows are square and divide the map
        return what, Positions(where, (size, size), (input.shape[-2], input.shape[-1]))


class _Unpooling(nn.Module):
    def forward(self, x: Tensor, switches: Where, unpool: Unpooling) -> Tensor:
        height, width = switches.input_size
        if unpool == "known":
            if isinstance(switches, Switches):
                return switch_unpool2d(x, switches)
            return soft_argmax_unpool2d(x, switches.where, switches.kernel_size)
        if unpool == "fixed":
            return fixed_unpool2d(x, switches.kernel_size, switches.stride, output_size=(height, width))
        kernel_height, kernel_width = switches.kernel_size
        size = (x.shape[2] * kernel_height, x.shape[3] * kernel_width)
        return F.interpolate(x, size=size, mode="nearest")[:, :, :height, :width]


def _follows_unpooling(unpooling: nn.Module, following: nn.Module | None) -> bool:
    """Whether a layer is a transposed convolution that runs together with the unpooling before it."""
    if not isinstance(following, DeconvolutionBlock) or following.is_even:
        return False
    return not any(map(is_watched, (unpooling, *following.modules())))


def _check_unpool(unpool: str) -> None:
    if unpool not in get_args(Unpooling):
        raise ValueError(f"SWWAE: expected unpool to be one of {', '.join(get_args(Unpooling))}, got {unpool!r}")


def _taps(switches: Where, unpool: Unpooling) -> int:
    """Return how many taps of a window receive its value."""
    kernel_height, kernel_width = switches.kernel_size
    return kernel_height * kernel_width if unpool == "upsample" else 1


def _classifier(features: int, units: list[int], dropout: float) -> nn.Sequential:
    modules: list[nn.Module] = [nn.Flatten()]
    for number, count in enumerate(units):
        modules += [nn.ReLU()] if number > 0 else []
        modules += [nn.Dropout(dropout), nn.Linear(features, count)]
        features = count
    return nn.Sequential(*modules)

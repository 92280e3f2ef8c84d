"""Classifiers augmented with a decoder.

Zhang, Lee and Lee, "Augmenting Supervised Neural Networks with Unsupervised Objectives for Large-scale Image Classification", 2016,
arXiv:1606.06582, section 3.2 and figure 2.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from wwae.models.decoder import MacroDecoder, SwitchKind
from wwae.models.macro_layers import MacroLayer, Site, find_macro_layers
from wwae.models.recording import Recording, recording
from wwae.ops import Switches
from wwae.reference.window import spatial_size

__all__ = ["AugmentedClassifier", "AugmentedOutput", "SwitchSource", "Variant", "augment"]

Variant = Literal["first", "all", "layerwise"]
SwitchSource = Literal["known", "fixed", "shuffled", "zeroed"]


class AugmentedOutput(NamedTuple):
    """What an :class:`AugmentedClassifier` computes for a batch of N images.

    ``reconstructions[i]`` and ``targets[i]`` are the paper's ``â_i`` and ``a_i``, the images (``i = 0``) first. None is detached.
    """

    logits: Any
    """What the classifier returns."""
    reconstructions: tuple[Tensor, ...]
    """(N, C_i, H_i, W_i): one map with ``"first"``, else one for each macro-layer that is decoded."""
    targets: tuple[Tensor, ...]
    """The encoder's maps of the same shapes; ``targets[0]`` is the tensor given to the model."""


class AugmentedClassifier(nn.Module):
    """A classifier and the decoders that mirror its macro-layers; :func:`augment` makes it.

    The state dict has the classifier's keys after ``classifier.`` and those of the decoders after ``decoders.``, the nearest to the
    images first. It is the same for every variant and kind of switch, so that weights trained layer-wise start the other variants.

    Attributes:
        classifier (nn.Module): the module that was given, itself.
        decoders (nn.ModuleList): ``decoders[l - 1]`` is the paper's ``f_l^dec``, a :class:`wwae.models.decoder.MacroDecoder`.
        macro_layers (tuple[MacroLayer, ...]): what they mirror.
        variant (str), switches (str): as given to :func:`augment`.
    """

    def __init__(
        self,
        classifier: nn.Module,
        macro_layers: tuple[MacroLayer, ...],
        variant: Variant,
        switches: SwitchKind,
        fuse: bool = True,
    ) -> None:
        super().__init__()
        _check("variant", variant, get_args(Variant))
        _check("switches", switches, get_args(SwitchKind))
        self.variant = variant
        self.switches = switches
        self.fuse = fuse
        self.macro_layers = macro_layers
        self.classifier = classifier
        self.decoders = nn.ModuleList(MacroDecoder(layer, fuse) for layer in macro_layers)
        self._trainable: set[str] | None = None
        # Not train(), which would reach modules of the classifier whose mode differs on purpose.
        self.training = classifier.training
        self.decoders.train(classifier.training)

    def forward(self, x: Tensor) -> AugmentedOutput:
        """Classify and reconstruct images.

        Args:
            x (Tensor[N, C, H, W]): images, of any size that the classifier takes; the targets of the reconstruction.

        Raises:
            ValueError: the images have other channels than the first convolution reads, or a map has another size than the
                macro-layers before it give.
        """
        channels = self.macro_layers[0].channels[0]
        if x.dim() != 4 or x.shape[1] != channels:
            raise ValueError(f"augment: expected x of shape [N, {channels}, H, W], got {list(x.shape)}")
        logits, maps, record = self._classify_and_record(x)
        reconstructions: list[Tensor] = []
        top = maps[-1]
        for number in reversed(range(len(self.layer_names))):
            if self.variant == "layerwise":
                top = maps[number + 1]
            top = self._decode(number, top, maps, record, self.switches)
            reconstructions.append(top)
        kept = 1 if self.variant == "first" else len(reconstructions)
        return AugmentedOutput(logits, tuple(reversed(reconstructions))[:kept], tuple(maps[:kept]))

    def reconstruct(self, x: Tensor, from_layer: str = "last", switches: SwitchSource | None = None) -> Tensor:
        """Reconstruct images from one of the encoder's maps, down the chain of decoders, whatever the variant.

        Args:
            x (Tensor[N, C, H, W]): images.
            from_layer (str): one of :attr:`layer_names`, or ``"last"``.
            switches (str | None): where values are unpooled to: ``"known"`` and ``"fixed"`` as for :func:`augment`; ``"shuffled"``
                to the switches of the image before in the batch (the last one's for the first image); ``"zeroed"`` to the first tap
                of every window. Default: the kind that the model was made with.

        Returns:
            Tensor[N, C, H, W].

        Raises:
            ValueError: an argument is none of its choices.
        """
        source = self.switches if switches is None else switches
        _check("switches", source, get_args(SwitchSource))
        if from_layer != "last":
            _check("from_layer", from_layer, self.layer_names)
        _, maps, record = self._classify_and_record(x)
        count = len(self.layer_names) if from_layer == "last" else 1 + self.layer_names.index(from_layer)
        top = maps[count]
        for number in reversed(range(count)):
            top = self._decode(number, top, maps, record, source)
        return top

    def encoder_maps(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the images and the map at the end of each layer of :attr:`layer_names`, ``a_0`` to ``a_L``."""
        return tuple(self._classify_and_record(x)[1])

    @property
    def layer_names(self) -> tuple[str, ...]:
        """What :meth:`reconstruct` can start from, the nearest to the images first."""
        return tuple(layer.name for layer in self.macro_layers)

    @property
    def layer_decoders(self) -> tuple[nn.Module, ...]:
        """For each of :attr:`layer_names` the module that maps its end to the end of the one before."""
        return tuple(self.decoders)

    def _decode(self, number: int, top: Tensor, maps: list[Tensor], record: Recording, source: SwitchSource) -> Tensor:
        """Run one decoder, counted from 0."""
        switches = None
        if source != "fixed":
            pools = self.macro_layers[number].pools
            switches = {position: _from_source(record.switches[site], source) for position, site in pools.items()}
        return self.decoders[number](top, spatial_size(maps[number]), switches)

    # torch.compile runs this part as it is, and compiles the decoders.
    @torch.compiler.disable
    def _classify_and_record(self, x: Tensor) -> tuple[Any, list[Tensor], Recording]:
        """Return the logits, the maps a_0 to a_L, and what was recorded on the way."""
        sites = self._sites()
        overwritten = {layer.end for layer in self.macro_layers if layer.is_overwritten}
        with recording(self.classifier, sites, overwritten, self.fuse) as record:
            logits = self.classifier(x)
        return logits, self._maps(x, record), record

    def _maps(self, x: Tensor, record: Recording) -> list[Tensor]:
        maps = [x]
        for layer in self.macro_layers:
            maps.append(_map_at_end(layer, record, spatial_size(maps[-1])))
        return maps

    def _sites(self) -> set[Site]:
        ends = {layer.end for layer in self.macro_layers}
        return ends | {site for layer in self.macro_layers for site in layer.pools.values()}

    def freeze_encoder(self) -> AugmentedClassifier:
        """Train the decoders alone: steps 2 and 3 of the paper's section 4.1.

        No parameter of the classifier requires a gradient, and the classifier stays in evaluation mode, also after ``train()``, so
        that neither the statistics of batch normalisation nor dropout change the maps to be reconstructed.
        """
        if self._trainable is None:
            self._trainable = {name for name, parameter in self.classifier.named_parameters() if parameter.requires_grad}
            self.classifier.requires_grad_(False)
        return self.train(self.training)

    def unfreeze_encoder(self) -> AugmentedClassifier:
        """Undo :meth:`freeze_encoder` for the joint step: what required a gradient before does so again.

        The classifier takes the mode of the model, training or evaluation.
        """
        if self._trainable is not None:
            for name, parameter in self.classifier.named_parameters():
                parameter.requires_grad_(name in self._trainable)
            self._trainable = None
        return self.train(self.training)

    def train(self, mode: bool = True) -> AugmentedClassifier:
        """Set training or evaluation mode; a frozen classifier stays in evaluation mode."""
        super().train(mode)
        if self._trainable is not None:
            self.classifier.eval()
        return self

    def extra_repr(self) -> str:
        return f"variant={self.variant!r}, switches={self.switches!r}, macro_layers={[layer.name for layer in self.macro_layers]}"


def augment(
    classifier: nn.Module,
    variant: Variant = "first",
    switches: SwitchKind = "known",
    from_layer: str | int = "last",
    example_input: Tensor | None = None,
    fuse: bool = True,
) -> AugmentedClassifier:
    """Grow a decoder on a classifier that mirrors it macro-layer by macro-layer (Zhang et al. 2016, arXiv:1606.06582, figure 2).

    The classifier runs as before: its logits are equal (bit for bit with ``fuse=False``, else to rounding), its modules stay in
    place with their names, hooks and state, and used alone it is what it was. It can be any network that ``torch.fx`` traces and
    whose macro-layers are convolutions, max pools, elementwise activations, normalisation, sums of branches and concatenation along
    the channels. Plain macro-layers are mirrored layer by layer, branched ones (Fire, Inception, residual) branch by branch.
    Decoder weights start Gaussian with standard deviation 0.001, biases 0.

    Args:
        classifier (nn.Module): images (N, C, H, W) to scores; it becomes a part of the result, not a copy.
        variant (str): with ``â_L = a_L`` and ``â_{l-1} = f_l^dec(â_l)`` (eq. 3), what is reconstructed:
            ``"first"`` the images alone; ``"all"`` the input of every macro-layer;
            ``"layerwise"`` the input of every macro-layer, each from the encoder's own map, ``â_{l-1} = f_l^dec(a_l)``.
        switches (str): ``"known"`` unpools to where the maxima stood (SWWAE), dividing by the number of hits where windows overlap;
            ``"fixed"`` to the tap ``k // 2`` of every window (SAE).
        from_layer (str | int): where decoding starts: ``"last"``, a macro-layer such as ``"pool3"``, its number, or the name of the
            module that ends it.
        example_input (Tensor[N, C, H, W] | None): images to run once, in evaluation mode, so that lazy modules get their sizes and
            a network whose maps cannot be mirrored is refused here and not in the first ``forward``.
        fuse (bool): run the classifier's Sequentials as :class:`wwae.nn.FusedSequential`, and each unpooling together with the
            deconvolution after it (:func:`wwae.ops.unpool_conv2d`), where windows lie apart and the convolution is a plain one: the
            same numbers to rounding, less memory. Default: True.

    Returns:
        AugmentedClassifier: called with images it gives an :class:`AugmentedOutput`.

    Raises:
        TypeError: ``classifier`` is no module.
        ValueError: an argument is none of its choices, or the network can't be mirrored as far as ``from_layer``; the message names
            the module and says what to do.

    Example:
        >>> layers = [torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten()]
        >>> model = wwae.models.augment(torch.nn.Sequential(*layers, torch.nn.Linear(8 * 16 * 16, 10)))
        >>> output = model(torch.rand(2, 3, 32, 32))
        >>> output.logits.shape, output.reconstructions[0].shape
        (torch.Size([2, 10]), torch.Size([2, 3, 32, 32]))
    """
    if not isinstance(classifier, nn.Module):
        raise TypeError(f"augment: expected classifier to be a torch.nn.Module, got {type(classifier).__name__}")
    if isinstance(classifier, AugmentedClassifier):
        raise TypeError("augment: expected classifier to be a plain network, got an AugmentedClassifier; give its .classifier")
    if example_input is not None:
        _run_once(classifier, example_input)
    model = AugmentedClassifier(classifier, find_macro_layers(classifier, from_layer), variant, switches, fuse)
    if example_input is not None:
        _run_once(model, example_input)
    return model


def _from_source(switches: Switches, source: SwitchSource) -> Switches:
    if source == "known":
        return switches
    offsets = switches.offsets.roll(1, 0) if source == "shuffled" else torch.zeros_like(switches.offsets)
    geometry = switches.kernel_size, switches.stride, switches.padding, switches.dilation, switches.ceil_mode
    return Switches(offsets, *geometry, input_size=switches.input_size)


def _map_at_end(layer: MacroLayer, record: Recording, size: tuple[int, int]) -> Tensor:
    if layer.end not in record.maps:
        raise ValueError(f"augment: the classifier's forward did not reach {layer.operations[-1].place}, which ends {layer.name}")
    found = record.maps[layer.end]
    expected = layer.sizes(size)[-1]
    if spatial_size(found) != expected:
        raise ValueError(
            f"augment: {layer.name} of a {size[0]}x{size[1]} map should end in {expected[0]}x{expected[1]}, but "
            f"{layer.operations[-1].place} gave {found.shape[-2]}x{found.shape[-1]}; something before it resizes or crops the map: "
            "do that to the images before the model"
        )
    return found


def _run_once(model: nn.Module, x: Tensor) -> None:
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            model.eval()
            model(x)
    finally:
        for module, mode in modes.items():
            module.training = mode


def _check(argument: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"augment: expected {argument} to be one of {', '.join(choices)}, got {value!r}")

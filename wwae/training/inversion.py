"""Inversion of a frozen classifier from its layers, with known and with fixed switches.

Zhang, Lee and Lee (2016, arXiv:1606.06582), section 4.2, figures 4 and 5. For each kind of switches there are these stages, each
with its checkpoint; the encoder never changes:

======================  =======================================================  ======================
``KIND-layerwise``      every layer's decoder, from the encoder's maps           new weights
``KIND-pool1``, …       the chain of decoders from that layer to the images      ``KIND-layerwise``
======================  =======================================================  ======================

The layers are the pooling layers, of AlexNet ``conv1`` to ``fc8``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

import wwae
from wwae.models import AugmentedClassifier, pretrained_classifier
from wwae.models.decoder import SwitchKind
from wwae.training.checkpoints import CheckpointError
from wwae.training.configuration import ConfigurationError
from wwae.training.dataset import ImageSet, derive_seed, to_float
from wwae.training.decoder_fit import DecoderFit, weights_digest, with_decoders
from wwae.training.evaluation import evaluating
from wwae.training.fit import seed_everything
from wwae.training.gallery import Reconstructions, choose_layers, psnr, reconstruct_with_switches, switch_gallery
from wwae.training.inversion_configuration import InversionConfiguration
from wwae.training.inverted_network import inverted_network
from wwae.training.loop import restore, run_fit
from wwae.training.reconstruction_loss import ReconstructionLoss
from wwae.training.run_directory import RunDirectory
from wwae.training.session import logger, logging_to, make_summary, open_directory, reproducible, resolve_device
from wwae.training.stage_fit import BIAS_RATE, ImageBatches, layerwise, parameter_groups, stacked
from wwae.training.staged_configuration import StageConfiguration
from wwae.training.stages import read_finished
from wwae.training.tensorboard import EventWriter

__all__ = ["InversionData", "Inversions", "train_inversion"]

GALLERY_IMAGES = 4
BATCH_SIZE = 20

INNER_PRODUCT_INPUTS = 256
"""Up to so many inputs the weights of an inner product have Adam's rate of a deconvolution, with more a rate as much lower. At the
full rate those of AlexNet overshoot in the first steps and end at zero."""


@dataclass(frozen=True)
class InversionData:
    """Pictures to learn from, and others to measure; their labels are not used."""

    train: ImageSet
    test: ImageSet


class Inversions:
    """The decoders of one run: makes them new, or with the weights of its checkpoints.

    Args:
        configuration (InversionConfiguration): the settings.
        directory (RunDirectory): where the checkpoints are.
        device (torch.device): of the models.

    Attributes:
        layers (tuple[str, ...]): those that chains start from, the nearest to the images first.

    Raises:
        ConfigurationError: there is no such network, it cannot be mirrored, or it has no such layer or reads no such images.
        WeightsError: the weights are missing or not those of the network.
    """

    def __init__(self, configuration: InversionConfiguration, directory: RunDirectory, device: torch.device) -> None:
        self.configuration = configuration
        self.directory = directory
        self._models: dict[str, AugmentedClassifier] = {}
        settings = configuration.model
        try:
            encoder = pretrained_classifier(
                settings.network,
                settings.weights,
                settings.convention,
                for_classification=settings.weights != "IMAGENET1K_FEATURES",
                download=settings.download,
            )
            self.network = inverted_network(settings.network, encoder.to(device).to(memory_format=torch.channels_last))
        except wwae.models.WeightsError:
            raise
        except ValueError as error:
            raise ConfigurationError(f"model: {error}") from None
        self.encoder_digest = weights_digest(encoder)
        self.layers = choose_layers("decoder.layers", configuration.decoder.layers, self.network.layers)
        sizes, given = self.network.image_sizes, configuration.data.image_size
        if sizes is not None and given not in sizes:
            raise ConfigurationError(
                f"data.image_size: expected {sizes[0]} to {sizes[-1]} pixels, for which {settings.network} was made, got {given}"
            )

    def new(self, switches: SwitchKind, layer: str | None = None) -> AugmentedClassifier:
        """Return untrained decoders: from one layer, or layer-wise up to the last one."""
        seed_everything(derive_seed(self.configuration.seed, "decoder weights"))
        model = self.network.augmented("layerwise" if layer is None else "first", switches, layer or self.layers[-1])
        return model.to(memory_format=torch.channels_last).freeze_encoder()

    def trained(self, switches: SwitchKind, layer: str | None = None) -> AugmentedClassifier:
        """Return the decoders of a stage that is finished.

        Raises:
            CheckpointError: its checkpoint is missing, damaged, unfinished or of another run.
        """
        return self._with_weights(self.new(switches, layer), self.name(switches, layer))

    def start(self, switches: SwitchKind, layer: str) -> AugmentedClassifier:
        """Return the chain from a layer with the weights of the layer-wise stage."""
        return self._with_weights(self.new(switches, layer), self.name(switches))

    @staticmethod
    def name(switches: SwitchKind, layer: str | None = None) -> str:
        """The name of a stage, such as ``known-pool2``."""
        return f"{switches}-{layer or 'layerwise'}"

    def reconstruct(self, images: Tensor, layers: Sequence[str] | None = None) -> Reconstructions:
        """Reconstruct images from layers.

        Args:
            images (Tensor[N, 3, H, W], float32 in [0, 1] | uint8): as for :func:`wwae.training.reconstruct_with_switches`.
            layers (sequence of str | None): among :attr:`layers`; default all.

        Returns:
            For each layer, for each source of switches: Tensor[N, 3, H, W] on the CPU, not clamped. ``"fixed"`` is what the decoder
            makes that was trained with fixed switches, the others come from the one that was trained with known switches.
        """
        found: Reconstructions = {}
        for layer in self.layers if layers is None else layers:
            known = reconstruct_with_switches(self._trained("known", layer), images, [layer])[layer]
            fixed = reconstruct_with_switches(self._trained("fixed", layer), images, [layer], ["fixed"])[layer]
            found[layer] = known | fixed
        return found

    def _trained(self, switches: SwitchKind, layer: str) -> AugmentedClassifier:
        name = self.name(switches, layer)
        if name not in self._models:
            self._models[name] = self.trained(switches, layer)
        return self._models[name]

    def _with_weights(self, model: AugmentedClassifier, stage: str) -> AugmentedClassifier:
        """Return the model with the decoders of a stage."""
        state = read_finished(self.directory, stage)
        try:
            model.load_state_dict(with_decoders(model, state, self.encoder_digest))
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            path = self.directory.stage_checkpoint(stage)
            raise CheckpointError(f"{path}: does not belong to {self.directory.config}: {str(error).splitlines()[0]}") from None
        return model


def train_inversion(
    configuration: InversionConfiguration, load_data: Callable[[], InversionData], command: str = ""
) -> dict[str, Any]:
    """Train the decoders of a configuration, or continue when ``configuration.resume`` is set, and return the summary.

    Args:
        configuration (InversionConfiguration): the settings; ``run.dir`` must be set.
        load_data (Callable[[], InversionData]): finds the pictures.
        command (str): the command that started the run, for the summary.

    Returns:
        The content of ``summary.json``. Its ``metrics`` are PSNR in dB over the test pictures, for each layer and source of
        switches as of :meth:`Inversions.reconstruct`, ``psnr_mean_colour`` for pictures of one colour each, the mean, and
        ``reconstruction_l2`` of the known switches from the last layer.

    Raises:
        ConfigurationError, WeightsError: as :class:`Inversions`, or a setting is not possible on this machine.
        DataError: a picture cannot be read.
        RunDirectoryError: ``run.dir`` cannot take the run, or holds none to resume.
        TrainingDiverged: the loss is not finite any more.
    """
    device = resolve_device(configuration.device)
    directory = open_directory(configuration)
    data = load_data()
    inversions = Inversions(configuration, directory, device)
    if not configuration.resume:
        _read_all(data)
        RunDirectory.create(directory.path, configuration)
    seconds = 0.0
    with reproducible(), logging_to(directory), EventWriter(directory, configuration.run.tensorboard) as events:
        logger.info(
            "%s: %s on %s, %d pictures to learn from + %d to measure, in %s",
            "continue" if configuration.resume else "start",
            configuration.recipe,
            device,
            len(data.train),
            len(data.test),
            directory.path,
        )
        for switches in get_args(SwitchKind):
            for layer in (None, *inversions.layers):
                fit = _fit(inversions, data, device, switches, layer)
                path = directory.stage_checkpoint(fit.network)
                if restore(fit, path) is None:
                    directory.drop_metrics_after(1, fit.network, fit.step)
                    run_fit(fit, path, configuration.run, directory, events, dict, dict)
                seconds += fit.seconds
        metrics = _measure(inversions, data.test)
        shown = read_to_show(data.test, min(GALLERY_IMAGES, len(data.test)))
        switch_gallery(shown, inversions.reconstruct(shown), directory.figures / "reconstructions.png")
        summary = make_summary(configuration, command, device, seconds, metrics)
        directory.write_summary(summary)
        for name, value in metrics.items():
            logger.info("%s %.4g", name, value)
    return summary


def _read_all(data: InversionData) -> None:
    """Read every picture once: they are few, and what cannot be read is found before anything is written."""
    for images in (data.train, data.test):
        for position in range(len(images)):
            images.read(torch.tensor([position]))


def read_to_show(images: ImageSet, count: int) -> Tensor:
    """The first images of a set as they are measured, float32 in [0, 1]."""
    return to_float(images.read(torch.arange(count)).images)


def _fit(inversions: Inversions, data: InversionData, device: torch.device, switches: SwitchKind, layer: str | None) -> DecoderFit:
    configuration, settings = inversions.configuration, inversions.configuration.decoder
    if layer is not None:
        settings = settings.model_copy(update={"lr": settings.chain * settings.lr})
    name = inversions.name(switches, layer)
    model = inversions.new(switches) if layer is None else inversions.start(switches, layer)
    objective = layerwise(range(len(model.layer_names))) if layer is None else stacked(ReconstructionLoss())
    # Both kinds of switches see the same crops in the same order.
    stage = layer or "layerwise"
    images = ImageBatches(data.train, settings.batch_size, derive_seed(configuration.seed, "order", stage))
    seed_everything(derive_seed(configuration.seed, "stage", stage))
    return DecoderFit(
        name,
        model,
        objective,
        _groups(model, images[0][0].to(device), settings),
        settings,
        "decoder",
        unlabelled=images,
        epochs=configuration.epochs,
        device=device,
        precision=configuration.precision,
        encoder_digest=inversions.encoder_digest,
    )


def _groups(model: AugmentedClassifier, images: Tensor, settings: StageConfiguration) -> list[dict[str, Any]]:
    """Return the decoders' weights and biases as groups of an optimiser.

    The maps of a pretrained network have any scale: those of Caffe's are a hundred times the images. A step of Adam is as long as
    its rate, whatever the gradient, so the rates of the deconvolution that gives the reconstruction are relative to the root mean
    square of its target: that of the bias to this, that of the weights to its ratio to the layer's end. The weights of an inner
    product all move its result at once, so the more inputs it has, the lower their rate. SGD takes the rates as they are.
    """
    if settings.name == "sgd":
        return parameter_groups(model, settings.lr, settings.weight_decay)
    with evaluating(model):
        scales = [float(each.float().square().mean().sqrt()) for each in model.encoder_maps(images)]
    groups = []
    for decoder, below, above in zip(model.layer_decoders, scales[:-1], scales[1:], strict=True):
        is_inner_product = isinstance(decoder, nn.Linear)
        *inner, last = [decoder] if is_inner_product else decoder.get_submodule("deconvolutions").children()
        slower = min(1.0, INNER_PRODUCT_INPUTS / last.in_features) if isinstance(last, nn.Linear) else 1.0
        for each, of_weight, of_bias in (*((each, 1.0, 1.0) for each in inner), (last, slower * below / above, below)):
            groups.append({"params": [each.weight], "lr": settings.lr * of_weight, "weight_decay": settings.weight_decay})
            groups.append({"params": [each.bias], "lr": BIAS_RATE * settings.lr * of_bias, "weight_decay": 0.0})
    return groups


def _measure(inversions: Inversions, test: ImageSet) -> dict[str, float]:
    """PSNR in dB, averaged over the pictures."""
    totals: dict[str, float] = {}
    last = inversions.layers[-1]
    batches = torch.arange(len(test)).tensor_split(max(1, len(test) // BATCH_SIZE))
    for positions in batches:
        images = to_float(test.read(positions).images)
        found = inversions.reconstruct(images)
        values = {
            f"psnr_{source}_{layer}": psnr(each, images).sum() for layer, kinds in found.items() for source, each in kinds.items()
        }
        values["psnr_mean_colour"] = psnr(images.mean((2, 3), keepdim=True).expand_as(images), images).sum()
        values["reconstruction_l2"] = (found[last]["known"] - images).square().sum()
        totals = {name: totals.get(name, 0.0) + float(value) for name, value in values.items()}
    return {name: total / len(test) for name, total in totals.items()}

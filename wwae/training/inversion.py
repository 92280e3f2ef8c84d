"""Inversion of a frozen classifier from its pooling layers, with known and with fixed switches.

Zhang, Lee and Lee (2016, arXiv:1606.06582), section 4.2 and figure 5. For each kind of switches there are these stages, each with
its checkpoint; the encoder never changes:

======================  =======================================================  ======================
``KIND-layerwise``      every macro-layer's decoder, from the encoder's maps     new weights
``KIND-pool1``, …       the chain of decoders from that layer to the images      ``KIND-layerwise``
======================  =======================================================  ======================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

import wwae
from wwae.models import AugmentedClassifier, augment, pretrained_classifier
from wwae.models.decoder import SwitchKind
from wwae.models.strided_decoder import StridedDecoder
from wwae.training.checkpoints import CheckpointError, load_checkpoint
from wwae.training.configuration import ConfigurationError
from wwae.training.dataset import ImageSet, derive_seed, to_float
from wwae.training.evaluation import evaluating
from wwae.training.fit import seed_everything
from wwae.training.gallery import Reconstructions, psnr, reconstruct_with_switches, switch_gallery
from wwae.training.inversion_configuration import InversionConfiguration
from wwae.training.loop import restore, run_fit
from wwae.training.reconstruction_loss import ReconstructionLoss
from wwae.training.run_directory import RunDirectory
from wwae.training.session import logger, logging_to, make_summary, open_directory, reproducible, resolve_device
from wwae.training.stage_fit import BIAS_RATE, ImageBatches, StageFit, layerwise, parameter_groups, stacked
from wwae.training.staged_configuration import StageConfiguration
from wwae.training.tensorboard import EventWriter

__all__ = ["InversionData", "Inversions", "train_inversion"]

GALLERY_IMAGES = 4
BATCH_SIZE = 20


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

    Raises:
        ConfigurationError: the network has no pooling layer that can be mirrored, or there is no such network.
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
            names = augment(encoder, "layerwise").layer_names
        except wwae.models.WeightsError:
            raise
        except ValueError as error:
            raise ConfigurationError(f"model: {error}") from None
        self.encoder = encoder.to(device).to(memory_format=torch.channels_last)
        self.layers = tuple(name for name in names if name.startswith("pool"))
        """The pooling layers, the nearest to the images first."""
        if not self.layers:
            raise ConfigurationError(
                f"model.network: {settings.network} has no pooling layer to start from, only {', '.join(names)}"
            )

    def new(self, switches: SwitchKind, layer: str | None = None) -> AugmentedClassifier:
        """Return untrained decoders: from one layer, or layer-wise up to the last pool."""
        seed_everything(derive_seed(self.configuration.seed, "decoder weights"))
        variant = "layerwise" if layer is None else "first"
        model = augment(self.encoder, variant, switches, layer or self.layers[-1])  # type: ignore[arg-type]
        first, *more = model.macro_layers[0].convolutions
        if first.detail.stride != (1, 1) and not more:
            model.decoders[0] = StridedDecoder(model.macro_layers[0]).to(next(self.encoder.parameters()).device)
        return model.to(memory_format=torch.channels_last).freeze_encoder()

    def trained(self, switches: SwitchKind, layer: str | None = None) -> AugmentedClassifier:
        """Return the decoders of a stage that is finished.

        Raises:
            CheckpointError: its checkpoint is missing, damaged or of another run.
        """
        model = self.new(switches, layer)
        path = self.directory.stage_checkpoint(self.name(switches, layer))
        self._load(model, path, load_checkpoint(path))
        return model

    def start(self, switches: SwitchKind, layer: str) -> AugmentedClassifier:
        """Return the chain from a layer with the weights of the layer-wise stage."""
        model = self.new(switches, layer)
        path = self.directory.stage_checkpoint(self.name(switches))
        state = load_checkpoint(path)
        wanted = model.state_dict()
        self._load(model, path, {"model": {name: value for name, value in state["model"].items() if name in wanted}})
        return model

    @staticmethod
    def name(switches: SwitchKind, layer: str | None = None) -> str:
        """The name of a stage, such as ``known-pool2``."""
        return f"{switches}-{layer or 'layerwise'}"

    def reconstruct(self, images: Tensor) -> Reconstructions:
        """Reconstruct images from each pooling layer.

        Args:
            images (Tensor[N, 3, H, W], float32 in [0, 1] | uint8): as for :func:`wwae.training.reconstruct_with_switches`.

        Returns:
            For each layer, for each source of switches: Tensor[N, 3, H, W] on the CPU, not clamped. ``"fixed"`` is what the decoder
            makes that was trained with fixed switches, the others come from the one that was trained with known switches.
        """
        found: Reconstructions = {}
        for layer in self.layers:
            known = reconstruct_with_switches(self._trained("known", layer), images, [layer])[layer]
            fixed = reconstruct_with_switches(self._trained("fixed", layer), images, [layer], ["fixed"])[layer]
            found[layer] = known | fixed
        return found

    def _trained(self, switches: SwitchKind, layer: str) -> AugmentedClassifier:
        name = self.name(switches, layer)
        if name not in self._models:
            self._models[name] = self.trained(switches, layer)
        return self._models[name]

    def _load(self, model: nn.Module, path: Any, state: dict[str, Any]) -> None:
        try:
            model.load_state_dict(state["model"])
        except (KeyError, RuntimeError, TypeError) as error:
            raise CheckpointError(f"{path}: does not belong to {self.directory.config}: {str(error).splitlines()[0]}") from None


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
        ``reconstruction_l2`` of the known switches from the last pool.

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


def read_to_show(images: ImageSet, count: int) -> Tensor:
    """The first images of a set as they are measured, float32 in [0, 1]."""
    return to_float(images.read(torch.arange(count)).images)


def _fit(inversions: Inversions, data: InversionData, device: torch.device, switches: SwitchKind, layer: str | None) -> StageFit:
    configuration, settings = inversions.configuration, inversions.configuration.decoder
    if layer is not None:
        settings = settings.model_copy(update={"lr": settings.chain * settings.lr})
    name = inversions.name(switches, layer)
    model = inversions.new(switches) if layer is None else inversions.start(switches, layer)
    objective = layerwise(range(len(model.macro_layers))) if layer is None else stacked(ReconstructionLoss())
    # Both kinds of switches see the same crops in the same order.
    stage = layer or "layerwise"
    images = ImageBatches(data.train, settings.batch_size, derive_seed(configuration.seed, "order", stage))
    seed_everything(derive_seed(configuration.seed, "stage", stage))
    return StageFit(
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
    )


def _groups(model: AugmentedClassifier, images: Tensor, settings: StageConfiguration) -> list[dict[str, Any]]:
    """Return the decoders' weights and biases as groups of an optimiser.

    The maps of a pretrained network have any scale: those of Caffe's are a hundred times the images. A step of Adam is as long as
    its rate, whatever the gradient, so the rates of the deconvolution that gives the reconstruction are relative to the root mean
    square of its target: that of the bias to this, that of the weights to its ratio to the macro-layer's end. SGD takes the rates
    as they are.
    """
    if settings.name == "sgd":
        return parameter_groups(model.decoders, settings.lr, settings.weight_decay)
    with evaluating(model):
        scales = [float(each.float().square().mean().sqrt()) for each in model.encoder_maps(images)]
    groups = []
    for decoder, below, above in zip(model.decoders, scales[:-1], scales[1:], strict=True):
        *inner, last = decoder.get_submodule("deconvolutions").children()
        for each, of_weight, of_bias in (*((each, 1.0, 1.0) for each in inner), (last, below / above, below)):
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

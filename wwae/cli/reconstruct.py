"""``wwae reconstruct``: a picture of images beside their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from wwae.cli.parser import CommandParser, UsageError
from wwae.data import load_images, load_pictures, load_staged_data, read_image
from wwae.training import (
    CheckpointError,
    InversionConfiguration,
    Inversions,
    RunDirectory,
    StagedConfiguration,
    TrainingConfiguration,
    derive_seed,
    load_model,
    reconstruct,
    reconstruct_with_switches,
    reconstruction_gallery,
    switch_gallery,
)
from wwae.training.engine import resolve_device
from wwae.training.gallery import Reconstructions, choose_layers
from wwae.training.inversion import read_to_show
from wwae.training.stages import Stages, read_weights

__all__ = ["run"]

DESCRIPTION = """\
Draw images beside what a run's network makes of them.

Of a stacked what-where auto-encoder, one row an image: the original, then the reconstruction with unpooling at the known
switch, at a fixed tap of every window, and at every tap (upsampling).

Of an augmented or inverted classifier, a column for each layer that decoding starts from, and for each image four rows:
known, fixed, shuffled (the switches of the image before; of a single image, those of its mirror image) and zeroed switches,
with the PSNR. Of a run that inverts a classifier, 'fixed' is the decoder that was trained with fixed switches.

Images are files in any format that Pillow reads, named before --layers; they are resized and converted to the grey or RGB of
the run's data. Without any, the first test images of the run's data set are taken."""

MOST_IMAGES = 64
"""More do not fit a picture that can be looked at."""

_STAGES = ("joint", "stacked", "layerwise")


def run(arguments: Sequence[str]) -> None:
    """Run the command on the words after ``wwae reconstruct``."""
    parser = CommandParser("reconstruct", DESCRIPTION)
    parser.add_argument("run", metavar="RUN", type=Path, help="directory of a run")
    parser.add_argument("images", metavar="IMAGE", nargs="*", type=Path, help="picture to reconstruct")
    parser.add_argument("--output", metavar="FILE.png", type=Path, help="picture to write (default: RUN/figures/reconstruct.png)")
    parser.add_argument("--count", metavar="N", type=int, default=8, help="test images without IMAGE (default: 8)")
    parser.add_argument(
        "--layers",
        metavar="NAME",
        nargs="+",
        default=[],
        help="layers to start from, such as pool1 pool3 or conv1,fc8 (default: all)",
    )
    parser.add_argument("--round", metavar="N", type=int, default=1, help="round whose network is used (default: 1)")
    parser.add_argument("--data.root", dest="root", metavar="DIR", help="files of the data set (default: as in the run)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:INDEX (default: auto)")
    options = parser.parse(arguments)
    if not 1 <= options.count <= MOST_IMAGES:
        raise UsageError(f"--count: expected 1 to {MOST_IMAGES}, got {options.count}")

    directory = RunDirectory.open(options.run)
    output = options.output if options.output is not None else directory.figures / "reconstruct.png"
    if output.suffix.lower() != ".png":
        raise UsageError(f"--output: expected a name that ends in .png, got {output}")
    if not output.parent.is_dir():
        raise UsageError(f"--output: expected a file in an existing directory, got {output}")
    device = resolve_device(options.device)
    configuration = directory.read_configuration()
    if options.root is not None:
        configuration = configuration.updated({"data": {"root": options.root}})
    if isinstance(configuration, TrainingConfiguration):
        if options.layers:
            raise UsageError("--layers: expected a run of an augmented or inverted classifier")
        model = load_model(directory, options.round)
        if options.images:
            images = _read(options.images, model.in_channels, model.image_size[0])
        else:
            images = load_images(configuration.data).test.images[: options.count]
        reconstruction_gallery(images, reconstruct(model.to(device), images), output)
    else:
        if options.round != 1:
            raise UsageError(f"--round: expected 1, a run of an augmented or inverted classifier has no other, got {options.round}")
        decode = _invert if isinstance(configuration, InversionConfiguration) else _decode
        layers = [name for word in options.layers for name in word.split(",") if name]
        images, reconstructions = decode(configuration, directory, device, options.images, options.count, layers)  # type: ignore[arg-type]
        switch_gallery(images, reconstructions, output)
    print(f"{len(images)} {'image' if len(images) == 1 else 'images'} and reconstructions: {output}")


def _read(paths: Sequence[Path], channels: int, size: int) -> Tensor:
    return torch.stack([read_image(path, channels, size) for path in paths])


def _decode(
    configuration: StagedConfiguration,
    directory: RunDirectory,
    device: torch.device,
    paths: Sequence[Path],
    count: int,
    layers: Sequence[str],
) -> tuple[Tensor, Reconstructions]:
    """Images, and what the augmented classifier of the last finished stage makes of them."""
    stage = next((name for name in _STAGES if directory.stage_checkpoint(name).exists()), None)
    if stage is None:
        raise CheckpointError(f"{directory.checkpoints}: expected one of {', '.join(_STAGES)} to be trained: wwae train --resume")
    data = load_staged_data(configuration.data, configuration.seed, derive_seed(configuration.seed, "labelled set"))
    stages = Stages(configuration, data, device)
    model = stages.augmented(read_weights(directory, stage))
    layers = choose_layers("--layers", layers, model.layer_names)
    images = _read(paths, *stages.image_shape[:2]) if paths else read_to_show(data.test, min(count, len(data.test)))
    return images, reconstruct_with_switches(model, images, layers)


def _invert(
    configuration: InversionConfiguration,
    directory: RunDirectory,
    device: torch.device,
    paths: Sequence[Path],
    count: int,
    layers: Sequence[str],
) -> tuple[Tensor, Reconstructions]:
    """Images, and what the decoders of an inversion make of them."""
    inversions = Inversions(configuration, directory, device)
    layers = choose_layers("--layers", layers, inversions.layers)
    if paths:
        images = _read(paths, 3, configuration.data.image_size)
    else:
        test = load_pictures(configuration.data).test
        images = read_to_show(test, min(count, len(test)))
    return images, inversions.reconstruct(images, layers)

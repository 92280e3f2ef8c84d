"""``wwae reconstruct``: a picture of images beside their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from wwae.cli.parser import CommandParser, UsageError
from wwae.data import load_images, read_image
from wwae.training import RunDirectory, load_model, reconstruct, reconstruction_gallery
from wwae.training.engine import resolve_device

__all__ = ["run"]

DESCRIPTION = """\
Draw images beside what a run's network makes of them, one row an image: the original, then the reconstruction with
unpooling at the known switch, at a fixed tap of every window, and at every tap (upsampling).

Images are files in any format that Pillow reads; they are resized and converted to the grey or RGB of the run's data.
Without any, the first test images of the run's data set are taken."""


def run(arguments: Sequence[str]) -> None:
    """Run the command on the words after ``wwae reconstruct``."""
    parser = CommandParser("reconstruct", DESCRIPTION)
    parser.add_argument("run", metavar="RUN", type=Path, help="directory of a run")
    parser.add_argument("images", metavar="IMAGE", nargs="*", type=Path, help="picture to reconstruct")
    parser.add_argument("--output", metavar="FILE.png", type=Path, help="picture to write (default: RUN/figures/reconstruct.png)")
    parser.add_argument("--count", metavar="N", type=int, default=8, help="test images without IMAGE (default: 8)")
    parser.add_argument("--round", metavar="N", type=int, default=1, help="round whose network is used (default: 1)")
    parser.add_argument("--data.root", dest="root", metavar="DIR", help="files of the data set (default: as in the run)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:INDEX (default: auto)")
    options = parser.parse(arguments)
    if options.count < 1:
        raise UsageError(f"--count: expected at least 1, got {options.count}")

    directory = RunDirectory.open(options.run)
    output = options.output if options.output is not None else directory.figures / "reconstruct.png"
    if output.suffix.lower() != ".png":
        raise UsageError(f"--output: expected a name that ends in .png, got {output}")
    if not output.parent.is_dir():
        raise UsageError(f"--output: expected a file in an existing directory, got {output}")
    device = resolve_device(options.device)
    model = load_model(directory, options.round)
    if options.images:
        images = torch.stack([read_image(path, model.in_channels, model.image_size[0]) for path in options.images])
    else:
        configuration = directory.read_configuration()
        if options.root is not None:
            configuration = configuration.updated({"data": {"root": options.root}})
        images = load_images(configuration.data).test.images[: options.count]
    reconstruction_gallery(images, reconstruct(model.to(device), images), output)
    print(f"{len(images)} images and their reconstructions: {output}")

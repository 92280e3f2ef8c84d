"""``wwae evaluate``: the networks of a run, measured again on the test images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wwae.cli.parser import CommandParser, UsageError
from wwae.cli.staged_evaluation import evaluate_run
from wwae.data import load_images
from wwae.training import (
    ConfigurationError,
    RunDirectory,
    StagedConfiguration,
    TrainingConfiguration,
    classification_error,
    load_model,
    reconstruction_l2,
)
from wwae.training.engine import resolve_device
from wwae.training.networks import Network

__all__ = ["run"]

DESCRIPTION = """\
Measure every trained network of a run again on the test images of its data set: the share of wrong classes and, for the
auto-encoder, the squared error of its reconstruction, summed over an image and averaged over the images.
Nothing is written.

A run in stages is measured by the protocols of Zhang et al.: single crop and fully convolutional, top-1 and top-5, on the test
images and on a part of the training set, reconstruction under known and fixed switches, and the change of the filters. That is
printed and written to evaluation.json and figures/filters.png in RUN."""

_NETWORKS: tuple[Network, ...] = ("swwae", "convnet")


def run(arguments: Sequence[str]) -> None:
    """Run the command on the words after ``wwae evaluate``."""
    parser = CommandParser("evaluate", DESCRIPTION)
    parser.add_argument("run", metavar="RUN", type=Path, help="directory of a run")
    parser.add_argument("--data.root", dest="root", metavar="DIR", help="files of the data set (default: as in the run)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:INDEX (default: auto)")
    images = "training images to measure the training error on, of a run in stages (default: 50000)"
    parser.add_argument("--train-images", metavar="N", type=int, default=50_000, help=images)
    options = parser.parse(arguments)

    if options.train_images < 1:
        raise UsageError(f"--train-images: expected at least 1, got {options.train_images}")

    directory = RunDirectory.open(options.run)
    configuration = directory.read_configuration()
    if options.root is not None:
        configuration = configuration.updated({"data": {"root": options.root}})
    device = resolve_device(options.device)
    if isinstance(configuration, StagedConfiguration):
        print(evaluate_run(configuration, directory, device, options.train_images))
        return
    if not isinstance(configuration, TrainingConfiguration):
        raise ConfigurationError(f"{directory.path}: a run of {configuration.recipe} classifies nothing; wwae reconstruct shows it")
    test = load_images(configuration.data).test
    checkpoints = [
        (round_number, network)
        for round_number in range(1, configuration.rounds + 1)
        for network in _NETWORKS
        if directory.checkpoint(round_number, network).exists()
    ]
    # Without any checkpoint, loading the first one says what is missing.
    for round_number, network in checkpoints or [(1, "swwae")]:
        model = load_model(directory, round_number, network).to(device)
        words = [f"round {round_number}  {network:<8}"]
        if model.classes is not None and configuration.loss.mode != "unsupervised":
            words.append(f"test error {classification_error(model, test):6.2f} %")
        if network == "swwae" and configuration.loss.mode != "supervised":
            words.append(f"reconstruction error {reconstruction_l2(model, test.images):.4g}")
        print("  ".join(words), flush=True)

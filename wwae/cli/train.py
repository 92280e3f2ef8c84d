"""``wwae train``: from a command line to a trained network and its run directory."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from wwae.cli.parser import CommandParser, UsageError
from wwae.cli.result import describe_result
from wwae.cli.settings import add_setting_options, given_settings
from wwae.data import load_images, select_training_data
from wwae.recipes import RECIPES, find_recipe
from wwae.training import RunDirectory, TrainingConfiguration, TrainingData, train
from wwae.training.configuration import ConfigurationError, read_toml

__all__ = ["run"]

DEFAULT_RECIPE = "digits"

DESCRIPTION = """\
Train a recipe and write a run directory: its settings, metrics, checkpoints, pictures and summary.

  wwae train                                          the built-in digits, no download
  wwae train mnist-swwae --data.root data/mnist/raw   MNIST with 100 labels
  wwae train mnist-swwae --config my.toml --epochs 5  a recipe, changed by a file, then by options
  wwae train --resume runs/digits-20260101-120000     continue a run where it stopped, bit for bit

Settings come from the recipe, then from --config, then from the options; the last one wins."""


def run(arguments: Sequence[str]) -> None:
    """Run the command on the words after ``wwae train``."""
    namespace = _parse(arguments)
    configuration, run_dir = _resumed(namespace) if namespace.resume is not None else _new(namespace)
    images = cache(lambda: load_images(configuration.data))

    def load_data(labelled_seed: int) -> TrainingData:
        return select_training_data(images(), configuration.data, labelled_seed=labelled_seed, validation_seed=configuration.seed)

    try:
        summary = train(configuration, load_data, command=shlex.join(["wwae", "train", *arguments]))
    except KeyboardInterrupt:
        if RunDirectory(run_dir).config.exists():
            raise KeyboardInterrupt(f"continue with: wwae train --resume {shlex.quote(str(run_dir))}") from None
        raise
    print(describe_result(configuration, summary, RunDirectory(run_dir)))


def _parse(arguments: Sequence[str]) -> Any:
    """Parse the words; with ``--help``, show the defaults of the recipe that they name and end."""
    namespace = _make_parser(RECIPES[DEFAULT_RECIPE].configuration()).parse(arguments)
    if namespace.help:
        _make_parser(find_recipe(namespace.recipe or DEFAULT_RECIPE).configuration()).print_help()
        raise SystemExit(0)
    return namespace


def _make_parser(defaults: TrainingConfiguration) -> CommandParser:
    parser = CommandParser("train", DESCRIPTION, add_help=False)
    parser.usage = "wwae train [RECIPE] [OPTIONS]"
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help=f"{', '.join(RECIPES)} (default: {DEFAULT_RECIPE})")
    parser.add_argument("-h", "--help", action="store_true", help="show this help, with the defaults of RECIPE")
    parser.add_argument("--config", metavar="FILE.toml", type=Path, help="settings to change, in the form of config.toml")
    parser.add_argument("--resume", metavar="DIR", type=Path, help="run directory to continue from its last checkpoint")
    add_setting_options(parser, defaults)
    return parser


def _new(namespace: Any) -> tuple[TrainingConfiguration, Path]:
    in_file = read_toml(namespace.config) if namespace.config is not None else {}
    name = namespace.recipe or in_file.get("recipe", DEFAULT_RECIPE)
    if in_file.get("recipe", name) != name:
        raise ConfigurationError(f"recipe: expected the one of {namespace.config}, {in_file['recipe']!r}, or no name, got {name!r}")
    configuration = find_recipe(name).configuration()
    if namespace.config is not None:
        configuration = TrainingConfiguration.from_toml(namespace.config, configuration)
    configuration = configuration.updated(given_settings(namespace))
    run_dir = configuration.run.dir or Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    return configuration.updated({"run": {"dir": run_dir}}), run_dir


def _resumed(namespace: Any) -> tuple[TrainingConfiguration, Path]:
    given = given_settings(namespace)
    if namespace.recipe is not None or namespace.config is not None or "dir" in given.get("run", {}):
        raise UsageError("--resume DIR takes recipe and settings from DIR: expected no RECIPE, --config or --run.dir")
    configuration = RunDirectory.open(namespace.resume).read_configuration()
    # Settings that change the numbers are refused when training finds them to differ from those in DIR.
    resumed = configuration.updated(given).updated({"resume": True, "run": {"dir": namespace.resume}})
    return resumed, namespace.resume

"""``wwae train``: from a command line to a trained network and its run directory."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from wwae.cli.inversion_result import describe_inversion
from wwae.cli.parser import CommandParser, UsageError
from wwae.cli.result import describe_result
from wwae.cli.settings import add_setting_options, given_settings
from wwae.cli.staged_result import describe_staged_result
from wwae.data import load_images, load_pictures, load_staged_data, select_training_data
from wwae.recipes import RECIPES, find_recipe
from wwae.training import (
    InversionConfiguration,
    RunDirectory,
    StagedConfiguration,
    TrainingConfiguration,
    TrainingData,
    train,
    train_in_stages,
    train_inversion,
)
from wwae.training.configuration import AnyConfiguration, ConfigurationError, read_toml
from wwae.training.engine import LoadData

__all__ = ["run"]

DEFAULT_RECIPE = "digits"

AnySettings = TrainingConfiguration | StagedConfiguration | InversionConfiguration

DESCRIPTION = """\
Train a recipe and write a run directory: its settings, metrics, checkpoints, pictures and summary.

  wwae train                                          the built-in digits, no download
  wwae train mnist-swwae --data.root data/mnist/raw   MNIST with 100 labels
  wwae train mnist-swwae --config my.toml --epochs 5  a recipe, changed by a file, then by options
  wwae train --resume runs/digits-20260101-120000     continue a run where it stopped, bit for bit

Settings come from the recipe, then from --config, then from the options; the last one wins."""


def run(arguments: Sequence[str]) -> None:
    """Run the command on the words after ``wwae train``."""
    namespace, base = _parse(arguments)
    configuration = _resumed(namespace, base) if namespace.resume is not None else _new(namespace, base)
    command = shlex.join(["wwae", "train", *arguments])
    run_dir = configuration.run.dir
    assert run_dir is not None
    try:
        if isinstance(configuration, StagedConfiguration):
            load = partial(load_staged_data, configuration.data, configuration.seed)
            staged = train_in_stages(configuration, load, command, namespace.stage, namespace.start_from)
            result = describe_staged_result(configuration, staged, RunDirectory(run_dir))
        elif isinstance(configuration, InversionConfiguration):
            inverted = train_inversion(configuration, partial(load_pictures, configuration.data), command)
            result = describe_inversion(inverted, RunDirectory(run_dir))
        else:
            summary = train(configuration, _loader(configuration), command)
            result = describe_result(configuration, summary, RunDirectory(run_dir))
    except KeyboardInterrupt:
        if RunDirectory(run_dir).config.exists():
            raise KeyboardInterrupt(f"continue with: wwae train --resume {shlex.quote(str(run_dir))}") from None
        raise
    print(result)


def _loader(configuration: TrainingConfiguration) -> LoadData:
    images = cache(lambda: load_images(configuration.data))

    def load_data(labelled_seed: int) -> TrainingData:
        return select_training_data(images(), configuration.data, labelled_seed=labelled_seed, validation_seed=configuration.seed)

    return load_data


def _parse(arguments: Sequence[str]) -> tuple[Any, AnySettings]:
    """Parse the words, and return with them the settings that they change; with ``--help``, show the recipe's and end."""
    # Which options there are depends on the recipe, which is one of the words.
    namespace = _make_parser(TrainingConfiguration(), StagedConfiguration(), InversionConfiguration()).parse(arguments)
    if namespace.help:
        _make_parser(find_recipe(namespace.recipe or DEFAULT_RECIPE).configuration()).print_help()
        raise SystemExit(0)
    base = _base(namespace)
    return _make_parser(base).parse(arguments), base


def _make_parser(*defaults: AnySettings) -> CommandParser:
    parser = CommandParser("train", DESCRIPTION, add_help=False)
    parser.usage = "wwae train [RECIPE] [OPTIONS]"
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help=f"{', '.join(RECIPES)} (default: {DEFAULT_RECIPE})")
    parser.add_argument("-h", "--help", action="store_true", help="show this help, with the defaults of RECIPE")
    parser.add_argument("--config", metavar="FILE.toml", type=Path, help="settings to change, in the form of config.toml")
    parser.add_argument("--resume", metavar="DIR", type=Path, help="run directory to continue from its last checkpoint")
    if any(isinstance(each, StagedConfiguration) for each in defaults):
        stage = "run this stage alone: 0 classifier, 1 new decoder, 2 layer-wise, 3 stacked, 4 joint and its control (default: all)"
        parser.add_argument("--stage", metavar="N", type=int, help=stage)
        shared = "take over the finished stages that a new run shares with the run in DIR, such as that of another variant"
        parser.add_argument("--start-from", metavar="DIR", type=Path, help=shared)
    for each in defaults:
        add_setting_options(parser, each)
    return parser


def _base(namespace: Any) -> AnySettings:
    """The settings that the options change: those of the run to resume, or of the recipe."""
    if namespace.resume is not None:
        if namespace.recipe is not None or namespace.config is not None or "dir" in given_settings(namespace).get("run", {}):
            raise UsageError("--resume DIR takes recipe and settings from DIR: expected no RECIPE, --config or --run.dir")
        return RunDirectory.open(namespace.resume).read_configuration()
    in_file = read_toml(namespace.config) if namespace.config is not None else {}
    name = namespace.recipe or in_file.get("recipe", DEFAULT_RECIPE)
    if in_file.get("recipe", name) != name:
        raise ConfigurationError(f"recipe: expected the one of {namespace.config}, {in_file['recipe']!r}, or no name, got {name!r}")
    return find_recipe(name).configuration()


def _new(namespace: Any, base: AnyConfiguration) -> AnyConfiguration:
    configuration = base
    if namespace.config is not None:
        configuration = type(base).from_toml(namespace.config, configuration)
    configuration = configuration.updated(given_settings(namespace))
    run_dir = configuration.run.dir or Path("runs") / f"{base.recipe}-{time.strftime('%Y%m%d-%H%M%S')}"
    return configuration.updated({"run": {"dir": run_dir}})


def _resumed(namespace: Any, base: AnyConfiguration) -> AnyConfiguration:
    # Settings that change the numbers are refused when training finds them to differ from those in the run.
    return base.updated(given_settings(namespace)).updated({"resume": True, "run": {"dir": namespace.resume}})

"""The settings of a run as command-line options: one option per field of the configuration.

The words of the command line go to the configuration as they stand, so that a value means the same and is refused with
the same message here, in a TOML file and in Python.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from wwae.training.configuration import Configuration

__all__ = ["add_setting_options", "given_settings"]

# Frequent settings have a short name beside the dotted one.
_SHORT_NAMES = {"data.labels": "--labels", "model.dropout": "--dropout", "model.pooling": "--pooling", "model.beta": "--beta"}

# The recipe is named by its own argument, and --resume takes the directory of the run.
_NOT_OPTIONS = ("recipe", "resume")

# Where an option goes in the namespace, apart from the command's own arguments.
_PREFIX = "setting:"


def add_setting_options(parser: argparse.ArgumentParser, defaults: Configuration) -> None:
    """Add an option for every setting that ``parser`` has not yet; the help shows the values of ``defaults``."""
    general = parser.add_argument_group("settings of every recipe")
    for name, field in type(defaults).model_fields.items():
        value = getattr(defaults, name)
        if isinstance(value, BaseModel):
            group = parser.add_argument_group(f"{name} settings", (type(value).__doc__ or "").strip())
            for inner_name, inner_field in type(value).model_fields.items():
                _add_option(group, f"{name}.{inner_name}", inner_field, getattr(value, inner_name))
        elif name not in _NOT_OPTIONS:
            _add_option(general, name, field, value)


def given_settings(namespace: argparse.Namespace) -> dict[str, Any]:
    """The settings that the command line names, nested as in a TOML file."""
    values: dict[str, Any] = {}
    for destination, value in vars(namespace).items():
        if destination.startswith(_PREFIX):
            *groups, name = destination.removeprefix(_PREFIX).split(".")
            place = values
            for group in groups:
                place = place.setdefault(group, {})
            place[name] = value
    return values


def _add_option(group: argparse._ArgumentGroup, name: str, field: FieldInfo, default: Any) -> None:
    flags = [f"--{name}"] + ([_SHORT_NAMES[name]] if name in _SHORT_NAMES else [])
    if flags[0] in group._option_string_actions:
        return
    text = (field.description or "").replace("%", "%%")
    if default not in (None, ()):
        shown = {True: "yes", False: "no"}[default] if isinstance(default, bool) else default
        text += f" (default: {shown})"
    common: dict[str, Any] = {"dest": _PREFIX + name, "default": argparse.SUPPRESS, "help": text}
    if field.annotation is bool:
        group.add_argument(*flags, action=argparse.BooleanOptionalAction, **common)
    else:
        group.add_argument(*flags, metavar=_metavar(name, field.annotation), **common)


def _metavar(name: str, annotation: Any) -> str:
    """How the help shows a value: its type, its choices, or the setting's own name."""
    if get_origin(annotation) is Literal:
        return "|".join(str(choice) for choice in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return "|".join(_metavar(name, part) for part in get_args(annotation) if part is not type(None))
    return {int: "N", float: "X", Path: "DIR"}.get(annotation, name.rpartition(".")[2].upper())

"""The settings of a training run: typed, validated, and the same from the command line, from TOML and from Python.

One field is one option: ``loss.reconstruction`` is ``--loss.reconstruction 10`` on the command line, ``reconstruction
= 10`` under ``[loss]`` in TOML, and ``configuration.loss.reconstruction`` here. The description of each field is its
help text. Values are checked when a configuration is made, which is before a run touches a file.

A recipe makes a :class:`Configuration`, a :class:`TrainingConfiguration` or a
:class:`wwae.training.staged_configuration.StagedConfiguration`; a TOML file, then the command line, change single values of it
with :meth:`Configuration.updated`. Every mistake, whoever made it, is a :class:`ConfigurationError` that lists all of them.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "Configuration",
    "ConfigurationError",
    "DataConfiguration",
    "LossConfiguration",
    "ModelConfiguration",
    "OptimizerConfiguration",
    "RunConfiguration",
    "SettingsGroup",
    "SolverConfiguration",
    "TrainingConfiguration",
]


class ConfigurationError(ValueError):
    """An unknown key or a value outside its bounds; the message has one line per mistake."""


class SettingsGroup(BaseModel):
    """Settings that are checked and do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfiguration(SettingsGroup):
    """Which images are learnt from, and how many of them keep their label."""

    dataset: Literal["digits", "mnist", "fashion-mnist", "cifar10", "imagenet"] = Field(
        default="digits", description="images to learn from; digits comes with scikit-learn and needs no files"
    )
    root: Path | None = Field(
        default=None,
        description="directory that holds the files of the dataset; digits needs none (default: data/DATASET)",
    )
    labels: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        default=100,
        description="labelled training images, the same number of each class, or 'all'; the others are unlabelled",
    )
    train_images: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        default="all", description="training images to use, with and without labels, drawn at random, or 'all'"
    )
    image_size: int = Field(default=32, ge=1, le=1024, description="height and width the images are brought to, in pixels")
    validation: int = Field(
        default=0,
        ge=0,
        description="training images held out to choose settings on, their error is reported; 0 holds none out",
    )
    workers: int = Field(default=0, ge=0, le=256, description="processes that read images ahead; 0 reads them between the steps")


class ModelConfiguration(SettingsGroup):
    """The network, a stacked what-where auto-encoder."""

    architecture: str = Field(
        default="(64)5c-2p-(64)3c-2p-(64)3c-2p-10fc",
        description="layers in the notation of Zhao et al. (2015): (MAPS)Kc convolution, Kp pooling, Nfc linear",
    )
    pooling: Literal["hard", "soft"] = Field(
        default="hard",
        description="hard: max and argmax of each window; soft: their soft versions (eq. 3, 4), with a continuous where",
    )
    beta: float = Field(default=100.0, ge=0.0, description="sharpness of soft pooling: 0 is the mean, a large one the maximum")
    unpool: Literal["known", "fixed", "upsample"] = Field(
        default="known",
        description="where the decoder puts a value: known: at the recorded switch; fixed: at one tap of every window; "
        "upsample: at every tap",
    )
    batch_norm: bool = Field(default=False, description="spatial batch normalisation after each convolution of both pathways")
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="probability of dropping an input of each linear layer")
    tied: bool = Field(default=False, description="the decoder's convolutions use the transposed weights of the encoder's")


class LossConfiguration(SettingsGroup):
    """The terms of Zhao et al. (2015) eq. 1, and which of them are active (section 3.2)."""

    mode: Literal["supervised", "unsupervised", "semi-supervised"] = Field(
        default="semi-supervised",
        description="supervised: labels only, the decoder is not run; unsupervised: reconstructions only, no "
        "classifier; semi-supervised: both",
    )
    reconstruction: float = Field(
        default=10.0,
        ge=0.0,
        description="weight of the reconstruction at the input (lambda_L2rec); its size belongs to loss.form",
    )
    middle: float = Field(
        default=10.0,
        ge=0.0,
        description="weight of the reconstructions at the middle maps (lambda_L2M); its size belongs to loss.form",
    )
    form: Literal["mse", "l2"] = Field(
        default="mse",
        description="mse: squared error, averaged over the elements; l2: unsquared norm of each image's error (eq. 2), "
        "averaged over the images",
    )

    @model_validator(mode="after")
    def _check_terms(self) -> LossConfiguration:
        if self.mode == "unsupervised" and self.reconstruction == 0 and self.middle == 0:
            raise ValueError("mode 'unsupervised' learns from reconstructions, so reconstruction and middle cannot both be 0")
        return self


class SolverConfiguration(SettingsGroup):
    """How the weights move."""

    name: Literal["adam", "sgd"] = Field(default="adam", description="update rule")
    lr: float = Field(default=1e-3, gt=0.0, description="learning rate at the start")
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0, description="momentum of sgd; adam does not use it")
    weight_decay: float = Field(default=0.0, ge=0.0, description="L2 penalty on the weights, as torch.optim defines it")
    schedule: Literal["constant", "cosine", "linear"] = Field(
        default="cosine", description="course of the learning rate over the run; cosine and linear end at 0"
    )


class OptimizerConfiguration(SolverConfiguration):
    """How the weights move, and how many images a step takes."""

    labelled_batch_size: int = Field(default=50, ge=1, description="labelled images in a step (none in unsupervised mode)")
    unlabelled_batch_size: int = Field(default=100, ge=1, description="unlabelled images in a step (none in supervised mode)")


class RunConfiguration(SettingsGroup):
    """Where a run is written and how often."""

    dir: Path | None = Field(
        default=None,
        description="directory of the run, which must not exist or be empty (default: runs/RECIPE-DATE-TIME)",
    )
    tensorboard: bool = Field(default=False, description="also write TensorBoard event files to DIR/tensorboard")
    log_every: int = Field(default=50, ge=1, description="steps between two rows of metrics.csv")
    evaluate_every: int = Field(default=1, ge=1, description="epochs between two measurements of the errors; the end has one, too")
    checkpoint_every: int = Field(default=500, ge=1, description="steps between two checkpoints; the end has one, too")


AnyConfiguration = TypeVar("AnyConfiguration", bound="Configuration")


class Configuration(SettingsGroup):
    """What every run has, whatever it trains."""

    recipe: str = Field(default="digits", min_length=1, description="recipe that these settings started from")
    epochs: int = Field(default=20, ge=1, description="passes over the images")
    seed: int = Field(default=0, ge=0, lt=2**31, description="start of every random number: labelled sets, weights, order, dropout")
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="auto (a GPU where there is one), cpu, cuda or cuda:INDEX",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="arithmetic of the network; with bfloat16 weights and losses stay float32"
    )
    resume: bool = Field(default=False, description="continue the run in run.dir from its last checkpoint")
    data: DataConfiguration = DataConfiguration()
    run: RunConfiguration = RunConfiguration()

    @model_validator(mode="after")
    def _check_together(self) -> Configuration:
        if self.resume and self.run.dir is None:
            raise ValueError("resume needs run.dir, the directory of the run to continue")
        return self

    @classmethod
    def from_values(cls: type[AnyConfiguration], values: Mapping[str, Any]) -> AnyConfiguration:
        """Make a configuration from nested values, as TOML gives them; what is missing keeps its default.

        Raises:
            ConfigurationError: a key is unknown (the nearest known one is named) or a value is not allowed.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            lines = dict.fromkeys(_describe(cls, each) for each in error.errors())
            raise ConfigurationError("\n".join(lines)) from None

    def updated(self: AnyConfiguration, values: Mapping[str, Any]) -> AnyConfiguration:
        """Return a copy with some nested values changed, checked like a new one.

        Example:
            >>> TrainingConfiguration().updated({"epochs": 3, "loss": {"reconstruction": 1}}).loss.reconstruction
            1.0

        Raises:
            ConfigurationError: as :meth:`from_values`.
        """
        return self.from_values(_merged(self.model_dump(), values))

    @classmethod
    def from_toml(cls: type[AnyConfiguration], path: Path, base: AnyConfiguration | None = None) -> AnyConfiguration:
        """Read a TOML file over ``base`` (the defaults when None).

        Raises:
            ConfigurationError: the file cannot be read, is not TOML, or holds a bad key or value; the file is named.
        """
        values = read_toml(path)
        try:
            return (base or cls()).updated(values)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: " + str(error).replace("\n", f"\n{path}: ")) from None

    def to_toml(self) -> str:
        """Return the settings as TOML that :meth:`from_toml` reads back; ``resume`` is of the call, not of the run."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True, exclude={"resume"}))


class TrainingConfiguration(Configuration):
    """All settings of a run that trains a stacked what-where auto-encoder.

    An epoch is one pass over the unlabelled images, with the labelled ones repeated as often as needed. Where there
    are no unlabelled images to go through (supervised mode, ``data.labels = "all"``) it is one pass over the labelled
    images.
    """

    epochs: int = Field(
        default=20,
        ge=1,
        description="passes over the unlabelled images (over the labelled ones where only they are used)",
    )
    rounds: int = Field(default=1, ge=1, description="repetitions, each with a new labelled set; results are averaged over them")
    baseline: bool = Field(
        default=True, description="also train the convnet of the same configuration on the labelled images alone"
    )
    model: ModelConfiguration = ModelConfiguration()
    loss: LossConfiguration = LossConfiguration()
    optimizer: OptimizerConfiguration = OptimizerConfiguration()


def read_toml(path: Path) -> dict[str, Any]:
    """Return the values of a TOML file.

    Raises:
        ConfigurationError: the file cannot be read or is not TOML; the file is named.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path}: is not valid TOML: {error}") from None


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        inner = result.get(key)
        result[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return result


def _describe(model: type[BaseModel], error: Any) -> str:
    """Return one line for a pydantic error: dotted name, rule and value; for an unknown key the nearest known one."""
    keys = [str(part) for part in error["loc"]]
    name = ".".join(keys)
    names = _option_names(model)
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5) or [k for k in names if k.split(".")[-1] == keys[-1]]
        return f"unknown setting {name!r}" + (f", did you mean {near[0]!r}?" if near else "")
    if error["type"] == "value_error":
        return f"{name + ': ' if name else ''}{error['ctx']['error']}"
    # A union names the member that failed as one more key: data.labels.int.
    while name not in names and "." in name:
        name = name.rpartition(".")[0]
    rule = _RULES.get(name) or f"{error['msg'][0].lower()}{error['msg'][1:]}"
    if error["type"] == "model_type":
        rule = "expected a group of settings"
    return f"{name}: {rule}, got {error['input']!r}"


# Said in words where pydantic would show a pattern, or one mistake for each member of a union.
_RULES = {
    "data.labels": "expected an int of at least 1 or 'all'",
    "data.train_images": "expected an int of at least 1 or 'all'",
    "device": "expected auto, cpu, cuda or cuda:INDEX",
}


def _option_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    names = []
    for key, field in model.model_fields.items():
        names.append(prefix + key)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += _option_names(field.annotation, f"{prefix}{key}.")
    return names

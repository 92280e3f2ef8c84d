"""The settings of a run."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from wwae.training import ConfigurationError, StagedConfiguration, TrainingConfiguration


def fields(model: type[BaseModel], prefix: str = "") -> dict:
    found = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= fields(field.annotation, f"{prefix}{name}.")
        else:
            found[prefix + name] = field
    return found


@pytest.mark.parametrize("kind", [TrainingConfiguration, StagedConfiguration])
def test_every_setting_has_a_help_text_and_a_default(kind):
    for name, field in fields(kind).items():
        assert field.description, name
        assert not field.is_required(), name


@pytest.mark.parametrize(
    ("given", "rates"), [("1e-3,2e-4", (1e-3, 2e-4)), ("0.5", (0.5,)), ("", ()), ([1, 2], (1.0, 2.0)), ((3e-9,), (3e-9,))]
)
def test_rates_are_numbers_with_commas(given, rates, tmp_path):
    configuration = StagedConfiguration().updated({"layerwise": {"rates": given}})
    assert configuration.layerwise.rates == rates
    (tmp_path / "config.toml").write_text(configuration.to_toml())
    assert StagedConfiguration.from_toml(tmp_path / "config.toml") == configuration


def test_a_rate_that_is_none_is_named():
    with pytest.raises(ConfigurationError, match=r"layerwise\.rates"):
        StagedConfiguration().updated({"layerwise": {"rates": "1e-3,fast"}})


def test_toml_round_trip(tmp_path):
    configuration = TrainingConfiguration().updated(
        {
            "epochs": 3,
            "data": {"labels": "all", "root": "somewhere"},
            "loss": {"form": "l2", "reconstruction": 0.05},
            "run": {"dir": tmp_path / "run"},
            "resume": True,
        }
    )
    path = tmp_path / "config.toml"
    path.write_text(configuration.to_toml())
    assert "resume" not in path.read_text()
    assert TrainingConfiguration.from_toml(path) == configuration.updated({"resume": False})


def test_toml_changes_single_values_of_its_base(tmp_path):
    path = tmp_path / "changes.toml"
    path.write_text("seed = 3\n[optimizer]\nlr = 0.1\n")
    base = TrainingConfiguration().updated({"epochs": 9, "optimizer": {"momentum": 0.5}})
    assert TrainingConfiguration.from_toml(path, base) == base.updated({"seed": 3, "optimizer": {"lr": 0.1}})


def test_a_configuration_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="frozen"):
        TrainingConfiguration().epochs = 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epocs": 3}, "unknown setting 'epocs', did you mean 'epochs'?"),
        ({"optimiser": {"lr": 1}}, "unknown setting 'optimiser', did you mean 'optimizer'?"),
        ({"optimizer": {"learning_rate": 1}}, "unknown setting 'optimizer.learning_rate', did you mean"),
        ({"lr": 1}, "unknown setting 'lr', did you mean 'optimizer.lr'?"),
        ({"xyzzy": 1}, "unknown setting 'xyzzy'"),
        ({"epochs": 0}, "epochs: input should be greater than or equal to 1, got 0"),
        ({"epochs": 1.5}, "epochs: input should be a valid integer"),
        ({"seed": -1}, "seed: input should be greater than or equal to 0, got -1"),
        ({"rounds": 0}, "rounds: "),
        ({"device": "gpu"}, "device: expected auto, cpu, cuda or cuda:INDEX, got 'gpu'"),
        ({"precision": "float16"}, "precision: input should be 'float32' or 'bfloat16', got 'float16'"),
        ({"data": {"labels": 0}}, "data.labels: expected an int of at least 1 or 'all', got 0"),
        ({"data": {"labels": "al"}}, "data.labels: expected an int of at least 1 or 'all', got 'al'"),
        (
            {"data": {"dataset": "mnst"}},
            "data.dataset: input should be 'digits', 'mnist', 'fashion-mnist', 'cifar10' or 'imagenet', got 'mnst'",
        ),
        ({"data": {"image_size": 0}}, "data.image_size: "),
        ({"data": {"validation": -1}}, "data.validation: "),
        ({"model": {"dropout": 1.0}}, "model.dropout: input should be less than 1, got 1.0"),
        ({"model": {"pooling": "mean"}}, "model.pooling: input should be 'hard' or 'soft', got 'mean'"),
        ({"model": {"beta": -1}}, "model.beta: input should be greater than or equal to 0, got -1"),
        ({"model": {"unpool": "nearest"}}, "model.unpool: "),
        ({"loss": {"reconstruction": -1}}, "loss.reconstruction: "),
        ({"loss": {"middle": float("nan")}}, "loss.middle: input should be a finite number, got nan"),
        ({"loss": {"mode": "unsupervised", "reconstruction": 0, "middle": 0}}, "cannot both be 0"),
        ({"loss": 3}, "loss: expected a group of settings, got 3"),
        ({"optimizer": {"lr": 0}}, "optimizer.lr: input should be greater than 0, got 0"),
        ({"optimizer": {"momentum": 1}}, "optimizer.momentum: "),
        ({"run": {"log_every": 0}}, "run.log_every: "),
        ({"resume": True}, "resume needs run.dir"),
    ],
)
def test_mistakes_are_named(values, message):
    with pytest.raises(ConfigurationError) as raised:
        TrainingConfiguration().updated(values)
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_all_mistakes_are_listed():
    with pytest.raises(ConfigurationError) as raised:
        TrainingConfiguration.from_values({"epochs": 0, "data": {"labels": 0}, "optimizer": {"rl": 1}})
    assert len(str(raised.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"epochs = [", "is not valid TOML: "),
        (b"\xff\xfe", "is not valid TOML: "),
        (b"epochs = 0", "epochs: input should be greater than or equal to 1, got 0"),
        (b"[loss]\nmod = 1", "unknown setting 'loss.mod', did you mean 'loss.mode'?"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, message):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as raised:
        TrainingConfiguration.from_toml(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml: cannot be read: No such file or directory"):
        TrainingConfiguration.from_toml(Path(tmp_path / "nowhere.toml"))

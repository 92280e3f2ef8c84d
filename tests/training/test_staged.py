"""Runs in stages: their files, what each stage changes, stages that are killed, resumed, run alone or in processes."""

import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from synthetic import load_bars

from wwae.training import (
    CheckpointError,
    ConfigurationError,
    RunDirectory,
    StagedConfiguration,
    StagedData,
    TrainingDiverged,
    TrainingStopped,
    train_in_stages,
)
from wwae.training.checkpoints import load_checkpoint
from wwae.training.fit import Fit

CLOCK = {"seconds", "images_per_second"}
STAGES = ["classifier", "initial", "layerwise", "stacked", "joint", "control"]


def load(seed):
    return StagedData.from_memory(load_bars(seed), classes=3)


def small_run(directory: Path | None = None, **changes) -> StagedConfiguration:
    """Five labelled images a step: 2 steps an epoch of stages 0 and 4, 5 of the decoder's stages."""
    base = StagedConfiguration().updated(
        {
            "epochs": 3,
            "seed": 7,
            "device": "cpu",
            "model": {"network": "(6)3c-2p-(8)3c-(8)3c-2p-3fc", "dropout": 0.2},
            "loss": {"reconstruction": 1e-3},
            "classifier": {"epochs": 6, "lr": 0.02, "batch_size": 5},
            "layerwise": {"epochs": 2, "batch_size": 10, "rates": (2e-3, 5e-3)},
            "stacked": {"epochs": 1, "batch_size": 10, "lr": 1e-3},
            "joint": {"batch_size": 5, "unlabelled_batch_size": 4, "lr": 1e-3},
            "run": {"dir": directory, "log_every": 2, "checkpoint_every": 3},
        }
    )
    return base.updated(changes)


def weights(directory, stage):
    return load_checkpoint(RunDirectory(directory).stage_checkpoint(stage))["model"]


def rows(directory):
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in RunDirectory.open(directory).read_metrics()]


def without_clock(summary):
    return {name: {k: v for k, v in metrics.items() if k != "seconds"} for name, metrics in summary["stages"].items()}


def assert_same_weights(ours, theirs, prefix=""):
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        if name.startswith(prefix):
            assert torch.equal(value, theirs[name]), name


def assert_same_run(directory, other):
    # A network's rows are in the order of its steps; those of another may come before or after.
    assert sorted(rows(directory), key=lambda row: row["network"]) == sorted(rows(other), key=lambda row: row["network"])
    for stage in STAGES:
        assert_same_weights(weights(directory, stage), weights(other, stage))
    summaries = [json.loads((each / "summary.json").read_text()) for each in (directory, other)]
    assert summaries[0]["metrics"] == summaries[1]["metrics"]
    assert without_clock(summaries[0]) == without_clock(summaries[1])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "finished"
    train_in_stages(small_run(directory), load, command="wwae train bars")
    return directory


def test_files_and_summary_of_a_run(finished):
    assert sorted(os.listdir(finished)) == ["checkpoints", "config.toml", "figures", "log.txt", "metrics.csv", "summary.json"]
    assert sorted(os.listdir(finished / "checkpoints")) == sorted(f"{stage}.pt" for stage in STAGES)
    assert Image.open(finished / "figures" / "curves.png").size > (400, 200)
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["recipe"], summary["command"], summary["seed"], summary["epochs"]) == ("digits", "wwae train bars", 7, 3)
    stages, metrics = summary["stages"], summary["metrics"]
    assert list(stages) == STAGES
    assert metrics["test_error"] == stages["joint"]["test_error"]
    assert metrics["reconstruction_l2"] == stages["joint"]["reconstruction_l2"]
    assert metrics["baseline_test_error"] == stages["control"]["test_error"]
    assert metrics["classifier_test_error"] == stages["classifier"]["test_error"] == stages["initial"]["test_error"]
    assert set(stages["layerwise"]) == {"layer_l2_image", "layer_l2_pool1", "seconds"}
    assert "validation_error" in stages["control"]
    assert RunDirectory.open(finished).read_configuration() == small_run(finished)


def test_every_stage_changes_what_it_should(finished):
    classifier = {f"classifier.{name}": value for name, value in weights(finished, "classifier").items()}
    before = weights(finished, "initial")
    assert all(torch.equal(before[name], value) for name, value in classifier.items())
    decoder = [value for name, value in before.items() if name.startswith("decoders") and name.endswith("weight")]
    assert torch.cat([value.flatten() for value in decoder]).std().item() == pytest.approx(1e-3, rel=0.1)
    for stage, encoder_moves in (("layerwise", False), ("stacked", False), ("joint", True)):
        after = weights(finished, stage)
        for name, value in after.items():
            moves = encoder_moves if name.startswith("classifier") else True
            assert torch.equal(value, before[name]) != moves, (stage, name)
        before = after
    control = weights(finished, "control")
    assert not any(torch.equal(control[name], value) for name, value in weights(finished, "classifier").items())


def test_decoders_learn(finished):
    stages = json.loads((finished / "summary.json").read_text())["stages"]
    energy = load(0).test.read(torch.arange(30)).images.float().div(255).square().sum().item() / 30
    assert stages["layerwise"]["layer_l2_image"] < 0.5 * energy
    assert stages["joint"]["reconstruction_l2"] < stages["stacked"]["reconstruction_l2"] < 0.5 * energy


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    ("network", "step"),
    [("classifier", 0), ("classifier", 7), ("layerwise", 0), ("layerwise", 8), ("stacked", 4), ("joint", 5), ("control", 3)],
)
def test_a_killed_run_resumes_bit_for_bit(finished, tmp_path, monkeypatch, network, step):
    configuration = small_run(tmp_path / "run")
    advance = Fit.advance

    def advance_or_die(fit):
        if (fit.network, fit.step) == (network, step):
            raise Killed
        return advance(fit)

    with monkeypatch.context() as patch:
        patch.setattr(Fit, "advance", advance_or_die)
        with pytest.raises(Killed):
            train_in_stages(configuration, load)
    assert not (tmp_path / "run" / "summary.json").exists()
    torch.rand(7)
    train_in_stages(configuration.updated({"resume": True}), load)
    assert_same_run(tmp_path / "run", finished)


def test_stages_one_by_one_equal_the_whole_run(finished, tmp_path):
    configuration = small_run(tmp_path / "run")
    summary = train_in_stages(configuration, load, stage=0)
    assert list(summary["stages"]) == ["classifier"] and summary["metrics"] == {}
    for stage in (1, 2, 3):
        train_in_stages(configuration.updated({"resume": True}), load, stage=stage)
    assert not (tmp_path / "run" / "summary.json").exists()
    train_in_stages(configuration.updated({"resume": True}), load, stage=4)
    assert_same_run(tmp_path / "run", finished)


def load_or_end(seed):
    """The data, in the first process only: others end as one does that the system kills."""
    if multiprocessing.parent_process() is not None:
        os._exit(9)
    return load(seed)


def test_a_process_that_is_ended_from_outside_is_no_defect(tmp_path):
    changes = {"layerwise": {"processes": 2}}
    for stage in (0, 1):
        train_in_stages(small_run(tmp_path / "run", resume=stage > 0, **changes), load, stage=stage)
    with pytest.raises(TrainingStopped, match=r"ended from outside, .*; wwae train --resume .*run continues"):
        train_in_stages(small_run(tmp_path / "run", resume=True, **changes), load_or_end, stage=2)


def test_macro_layers_in_processes_equal_those_in_one_pass(finished, tmp_path):
    changes = {"layerwise": {"processes": 2}}
    train_in_stages(small_run(tmp_path / "run", **changes), load, stage=0)
    for stage in (1, 2):
        train_in_stages(small_run(tmp_path / "run", resume=True, **changes), load, stage=stage)
    assert_same_weights(weights(tmp_path / "run", "layerwise"), weights(finished, "layerwise"))
    parts = {row["network"]: int(row["step"]) for row in rows(tmp_path / "run")}
    assert parts == {"classifier": 12, "layerwise-pool1": 10, "layerwise-pool2": 10}
    # A part that was finished is not trained again: the one that is missing is.
    for name in ("layerwise", "layerwise-pool2"):
        RunDirectory(tmp_path / "run").stage_checkpoint(name).unlink()
    kept = RunDirectory(tmp_path / "run").stage_checkpoint("layerwise-pool1")
    time = kept.stat().st_mtime_ns
    train_in_stages(small_run(tmp_path / "run", resume=True, **changes), load, stage=2)
    assert kept.stat().st_mtime_ns == time
    assert_same_weights(weights(tmp_path / "run", "layerwise"), weights(finished, "layerwise"))
    assert [row["step"] for row in rows(tmp_path / "run") if row["network"] == "layerwise-pool2"] == ["2", "4", "5", "6", "8", "10"]


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (1, r"stage 1 \(initial\) starts from the weights of stage 0 \(classifier\), which is not finished in .*with --stage 0"),
        (2, r"stage 2 \(layerwise\) starts from the weights of stage 1 \(initial\)"),
        (3, r"stage 3 \(stacked\) starts from the weights of stage 2 \(layerwise\)"),
        (4, r"stage 4 \(joint\) starts from the weights of stage 3 \(stacked\)"),
        (5, r"expected one of stage 0 \(classifier\), .*, stage 4 \(control\), got 5"),
    ],
)
def test_a_stage_without_its_predecessor_is_refused(tmp_path, stage, message):
    with pytest.raises(ConfigurationError, match=message):
        train_in_stages(small_run(tmp_path / "run"), load, stage=stage)
    assert not (tmp_path / "run").exists()


def test_an_unfinished_predecessor_does_not_count(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    for stage in ("stacked", "joint", "control"):
        RunDirectory(tmp_path / "run").stage_checkpoint(stage).unlink()
    with pytest.raises(ConfigurationError, match="stage 3"):
        train_in_stages(small_run(tmp_path / "run", resume=True), load, stage=4)


def test_a_layerwise_variant_has_no_third_stage(tmp_path):
    configuration = small_run(tmp_path / "run", model={"variant": "layerwise", "switches": "fixed"}, epochs=1)
    with pytest.raises(ConfigurationError, match="got 3; a layerwise decoder has no chain to train"):
        train_in_stages(configuration, load, stage=3)
    assert list(train_in_stages(configuration, load)["stages"]) == [each for each in STAGES if each != "stacked"]


def test_the_control_is_the_joint_stage_without_its_decoder(tmp_path):
    """With a reconstruction that weighs nothing and no further images, both end with the same classifier."""
    changes = {"loss": {"reconstruction": 0.0}, "joint": {"unlabelled_batch_size": 0}, "model": {"variant": "first"}}
    train_in_stages(small_run(tmp_path / "run", **changes), load)
    joint, control = weights(tmp_path / "run", "joint"), weights(tmp_path / "run", "control")
    for name, value in control.items():
        torch.testing.assert_close(value, joint[f"classifier.{name}"], rtol=1e-4, atol=1e-6)


def test_a_variant_starts_from_what_it_shares_with_another(finished, tmp_path):
    first = {"model": {"variant": "first"}}
    train_in_stages(small_run(tmp_path / "alone", **first), load)
    train_in_stages(small_run(tmp_path / "run", **first), load, start_from=finished)
    assert_same_run(tmp_path / "run", tmp_path / "alone")
    assert "taken from" in (tmp_path / "run" / "log.txt").read_text()
    # Fixed switches share the classifier, its control and the new decoder.
    other = small_run(tmp_path / "fixed", model={"switches": "fixed"})
    with pytest.raises(ConfigurationError, match=r"stage 3 \(stacked\) starts from"):
        train_in_stages(other, load, stage=3, start_from=finished)
    train_in_stages(other, load, stage=2, start_from=finished)
    assert sorted(os.listdir(tmp_path / "fixed" / "checkpoints")) == ["classifier.pt", "control.pt", "initial.pt", "layerwise.pt"]
    with pytest.raises(ConfigurationError, match="no finished stage with the settings of this run"):
        train_in_stages(small_run(tmp_path / "seed", seed=8), load, start_from=finished)
    with pytest.raises(ConfigurationError, match="start-from: expected a new run, got resume"):
        train_in_stages(small_run(finished, resume=True), load, start_from=finished)
    assert not (tmp_path / "seed").exists()


def test_resuming_with_other_settings_is_refused(finished):
    with pytest.raises(ConfigurationError, match=r"joint\.lr: expected 0\.001 as the run to resume was started with, got 0\.5"):
        train_in_stages(small_run(finished, resume=True, joint={"lr": 0.5}), load)


def test_a_damaged_checkpoint_is_named(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    path = RunDirectory(tmp_path / "run").stage_checkpoint("layerwise")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"layerwise\.pt: damaged checkpoint"):
        train_in_stages(small_run(tmp_path / "run", resume=True), load)


def test_a_stage_that_diverges_says_whose_rate_is_too_high(tmp_path):
    with pytest.raises(TrainingDiverged, match=r"layerwise.*try a smaller layerwise\.lr"):
        train_in_stages(small_run(tmp_path / "run", layerwise={"rates": (1e9, 1e9)}), load)
    assert RunDirectory(tmp_path / "run").stage_checkpoint("classifier").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"network": "(6)3c-2p-4fc"}}, "expected a last layer of 3fc for the classes of this dataset, got 4fc"),
        ({"model": {"network": "(6)3c-2q-3fc"}}, "model.network: parse_architecture"),
        ({"model": {"network": "(6)3c-20p-3fc"}}, "pools 20x20 windows, but its map is only 12x12"),
        ({"model": {"network": "vgg61"}}, "model.network: Unknown model vgg61"),
        ({"model": {"from_layer": "pool7"}}, "model: augment: "),
        ({"layerwise": {"rates": (1.0,)}}, "layerwise.rates: expected one rate for each of pool1, pool2, got 1 of them"),
        ({"data": {"labels": "all"}}, "joint.unlabelled_batch_size: expected 0 with data.labels 'all'"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_file_is_written(tmp_path, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        train_in_stages(small_run(tmp_path / "run", **changes), load)
    assert not (tmp_path / "run").exists()

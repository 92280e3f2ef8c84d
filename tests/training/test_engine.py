"""Whole runs: their files, their summary, and runs that are killed and resumed."""

import csv
import json
import logging
import os
import shutil
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from synthetic import load_bars, small_run

from wwae.training import (
    CheckpointError,
    ConfigurationError,
    RunDirectory,
    RunDirectoryError,
    TrainingDiverged,
    load_model,
    reconstruction_l2,
    train,
)
from wwae.training.checkpoints import load_checkpoint
from wwae.training.fit import Fit

CLOCK = {"seconds", "images_per_second"}


def numbers(directory):
    """The rows of metrics.csv without what the clock says."""
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in RunDirectory.open(directory).read_metrics()]


def weights(directory):
    return {path.name: load_checkpoint(path)["model"] for path in sorted((directory / "checkpoints").iterdir())}


def assert_same_run(directory, other):
    assert numbers(directory) == numbers(other)
    ours, theirs = weights(directory), weights(other)
    assert list(ours) == list(theirs)
    for name, state in ours.items():
        for key, value in state.items():
            assert torch.equal(value, theirs[name][key]), (name, key)
    summaries = [json.loads((each / "summary.json").read_text()) for each in (directory, other)]
    assert summaries[0]["metrics"] == summaries[1]["metrics"]
    assert summaries[0]["rounds"] == summaries[1]["rounds"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two rounds that nothing disturbed: twelve steps of each network in each round."""
    directory = tmp_path_factory.mktemp("runs") / "finished"
    train(small_run(directory, rounds=2), load_bars, command="wwae train bars")
    return directory


def test_files_of_a_run(finished):
    assert sorted(os.listdir(finished)) == [
        "checkpoints",
        "config.toml",
        "figures",
        "log.txt",
        "metrics.csv",
        "summary.json",
    ]
    assert sorted(os.listdir(finished / "checkpoints")) == [
        f"round-{r}-{network}.pt" for r in (1, 2) for network in ("convnet", "swwae")
    ]
    for figure in ("curves.png", "reconstructions.png"):
        assert Image.open(finished / "figures" / figure).size > (100, 100)
    log = (finished / "log.txt").read_text()
    assert "swwae 1/2: epoch 3/3, loss" in log
    assert "convnet 2/2: epoch 3/3, loss" in log


def test_metrics_of_a_run(finished):
    rows = numbers(finished)
    places = [(row["round"], row["network"], int(row["step"])) for row in rows]
    assert places == [(r, n, s) for r in "12" for n in ("swwae", "convnet") for s in range(1, 13)]
    for row in rows:
        at_epoch_end = int(row["step"]) % 4 == 0
        assert bool(row["test_error_percent"]) == bool(row["validation_error_percent"]) == at_epoch_end
        assert bool(row["reconstruction_loss"]) == (row["network"] == "swwae")


def test_summary_of_a_run(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["recipe"], summary["command"]) == ("digits", "wwae train bars")
    assert (summary["seed"], summary["epochs"]) == (7, 3)
    assert summary["seconds"] > 0
    assert summary["device"].startswith("cpu")
    assert set(summary["metrics"]) == {
        prefix + name + suffix
        for prefix, names in (
            ("", ("test_error", "validation_error", "reconstruction_l2")),
            ("baseline_", ("test_error", "validation_error")),
        )
        for name in names
        for suffix in ("", "_std")
    }
    errors = [each["swwae"]["test_error"] for each in summary["rounds"]]
    assert summary["metrics"]["test_error"] == pytest.approx(statistics.mean(errors))
    assert summary["metrics"]["test_error_std"] == pytest.approx(statistics.stdev(errors))
    last = [row for row in numbers(finished) if row["step"] == "12"]
    assert [float(row["test_error_percent"]) for row in last[::2]] == errors


def test_a_trained_network_can_be_loaded(finished):
    summary = json.loads((finished / "summary.json").read_text())
    for round_number in (1, 2):
        model = load_model(RunDirectory.open(finished), round_number)
        expected = summary["rounds"][round_number - 1]["swwae"]["reconstruction_l2"]
        assert reconstruction_l2(model, load_bars(0).test.images) == pytest.approx(expected)


def test_each_round_draws_a_new_labelled_set(tmp_path):
    seeds = []

    def load(seed):
        seeds.append(seed)
        return load_bars(seed)

    train(small_run(tmp_path / "a", rounds=3, epochs=1, baseline=False), load)
    train(small_run(tmp_path / "b", rounds=3, epochs=1, baseline=False, seed=8), load)
    assert len(set(seeds)) == 6


def test_one_seed_gives_one_run(finished, tmp_path):
    train(small_run(tmp_path / "again", rounds=2), load_bars)
    assert_same_run(tmp_path / "again", finished)


def test_logging_and_checkpoints_do_not_change_the_numbers(finished, tmp_path):
    run = {"log_every": 3, "checkpoint_every": 7, "evaluate_every": 2}
    train(small_run(tmp_path / "other", rounds=2, run={"dir": tmp_path / "other", **run}), load_bars)
    ours, expected = weights(tmp_path / "other"), weights(finished)
    assert all(torch.equal(v, expected[name][k]) for name, state in ours.items() for k, v in state.items())
    steps = [int(row["step"]) for row in numbers(tmp_path / "other")]
    assert steps == [3, 6, 8, 9, 12] * 4


class Killed(BaseException):
    pass


def kill_before_step(monkeypatch, round_number, network, step):
    advance = Fit.advance

    def advance_or_die(fit):
        if (fit.round_number, fit.network, fit.step) == (round_number, network, step):
            raise Killed
        return advance(fit)

    monkeypatch.setattr(Fit, "advance", advance_or_die)


@pytest.mark.parametrize(
    ("round_number", "network", "step"),
    [
        (1, "swwae", 0),
        (1, "swwae", 3),
        (1, "swwae", 5),
        (1, "swwae", 8),
        (1, "convnet", 0),
        (1, "convnet", 11),
        (2, "swwae", 0),
        (2, "swwae", 6),
        (2, "convnet", 9),
    ],
)
def test_a_killed_run_resumes_bit_for_bit(finished, tmp_path, monkeypatch, round_number, network, step):
    configuration = small_run(tmp_path / "run", rounds=2)
    with monkeypatch.context() as patch:
        kill_before_step(patch, round_number, network, step)
        with pytest.raises(Killed):
            train(configuration, load_bars)
    assert not (tmp_path / "run" / "summary.json").exists()
    torch.rand(7)
    train(configuration.updated({"resume": True}), load_bars)
    assert_same_run(tmp_path / "run", finished)
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert sum(row[0] == "round" for row in csv.reader(file)) == 1


def test_a_run_killed_between_two_rows_resumes_its_averages(tmp_path, monkeypatch):
    run = {"log_every": 4, "checkpoint_every": 3}
    train(small_run(tmp_path / "whole", baseline=False, run={"dir": tmp_path / "whole", **run}), load_bars)
    configuration = small_run(tmp_path / "run", baseline=False, run={"dir": tmp_path / "run", **run})
    with monkeypatch.context() as patch:
        kill_before_step(patch, 1, "swwae", 7)
        with pytest.raises(Killed):
            train(configuration, load_bars)
    train(configuration.updated({"resume": True}), load_bars)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_run_killed_by_the_system_resumes_bit_for_bit(finished, tmp_path):
    script = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import torch
torch.set_num_threads({torch.get_num_threads()})
from synthetic import load_bars, small_run
from wwae.training import checkpoints, train
replace, count = os.replace, []
def replace_or_die(*paths):
    # The fourth file is a checkpoint: it is written but not yet in its place.
    count.append(paths)
    if len(count) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*paths)
checkpoints.os.replace = replace_or_die
train(small_run(Path({str(tmp_path / "run")!r}), rounds=2), load_bars)
"""
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert list((tmp_path / "run").rglob(".*.unfinished"))
    train(small_run(tmp_path / "run", rounds=2, resume=True), load_bars)
    assert_same_run(tmp_path / "run", finished)


def test_resuming_a_complete_run_changes_nothing(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    train(small_run(tmp_path / "run", rounds=2, resume=True), load_bars)
    assert_same_run(tmp_path / "run", finished)


def test_resuming_with_other_settings_is_refused(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    other = small_run(finished, rounds=3, resume=True, optimizer={"lr": 0.02})
    with pytest.raises(ConfigurationError) as raised:
        train(other, load_bars)
    assert str(raised.value).splitlines() == [
        "rounds: expected 2 as the run to resume was started with, got 3",
        "optimizer.lr: expected 0.01 as the run to resume was started with, got 0.02",
    ]
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_damaged_checkpoint_is_named_and_not_passed_over(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints" / "round-2-swwae.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"round-2-swwae\.pt: damaged checkpoint: "):
        train(small_run(tmp_path / "run", rounds=2, resume=True), load_bars)


def test_a_foreign_checkpoint_is_named(finished, tmp_path):
    other = small_run(tmp_path / "run", model={"architecture": "(4)3c-2p-(4)3c-2p-3fc"}, rounds=2)
    RunDirectory.create(tmp_path / "run", other)
    shutil.copy(finished / "checkpoints" / "round-1-swwae.pt", tmp_path / "run" / "checkpoints")
    with pytest.raises(CheckpointError, match=r"round-1-swwae\.pt: does not belong to"):
        load_model(RunDirectory.open(tmp_path / "run"))
    with pytest.raises(CheckpointError, match=r"round-1-swwae\.pt: does not belong to this run: "):
        train(other.updated({"resume": True}), load_bars)


@pytest.mark.parametrize(
    ("mode", "networks", "metrics"),
    [
        ("supervised", ["swwae"], {"test_error", "validation_error"}),
        ("unsupervised", ["swwae"], {"reconstruction_l2"}),
        (
            "semi-supervised",
            ["convnet", "swwae"],
            {"test_error", "validation_error", "reconstruction_l2", "baseline_test_error", "baseline_validation_error"},
        ),
    ],
)
def test_modes(tmp_path, mode, networks, metrics):
    summary = train(small_run(tmp_path / "run", loss={"mode": mode}, epochs=1), load_bars)
    assert set(summary["metrics"]) == metrics
    assert sorted(os.listdir(tmp_path / "run" / "checkpoints")) == [f"round-1-{each}.pt" for each in networks]


def test_unsupervised_training_needs_no_classifier(tmp_path):
    changes = {"loss": {"mode": "unsupervised"}, "model": {"architecture": "(8)3c-2p-(8)3c-2p", "unpool": "upsample"}}
    summary = train(small_run(tmp_path / "run", epochs=10, **changes), load_bars)
    first, *_, last = [float(row["reconstruction_loss"]) for row in numbers(tmp_path / "run")]
    assert last < first
    assert summary["metrics"]["reconstruction_l2"] > 0


def test_what_is_refused_leaves_no_file(tmp_path):
    def missing(_):
        raise FileNotFoundError("train-images")

    with pytest.raises(FileNotFoundError):
        train(small_run(tmp_path / "run"), missing)
    with pytest.raises(ConfigurationError, match="at least 3fc"):
        train(small_run(tmp_path / "run", model={"architecture": "(8)3c-2p-2fc"}), load_bars)
    with pytest.raises(ConfigurationError, match=r"run\.dir: expected a directory, got none"):
        train(small_run(), load_bars)
    with pytest.raises(ConfigurationError, match=r"device: expected one of the .* GPUs here, cpu or auto, got 'cuda:99'"):
        train(small_run(tmp_path / "run", device="cuda:99"), load_bars)
    with pytest.raises(RunDirectoryError, match=r"expected the directory of a run"):
        train(small_run(tmp_path / "run", resume=True), load_bars)
    assert list(tmp_path.iterdir()) == []


def test_a_used_directory_is_refused_before_the_data_are_loaded(tmp_path):
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(RunDirectoryError, match=r"which holds mine\.txt"):
        train(small_run(tmp_path), lambda _: pytest.fail("loaded"))


def test_a_run_that_diverges_says_so_and_keeps_its_files(tmp_path):
    diverging = small_run(tmp_path / "run", optimizer={"name": "sgd", "lr": 1e20})
    with pytest.raises(TrainingDiverged, match=r"try a smaller optimizer\.lr"):
        train(diverging, load_bars)
    assert (tmp_path / "run" / "metrics.csv").exists()
    assert not (tmp_path / "run" / "summary.json").exists()


def test_tensorboard_on_request(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = {"dir": tmp_path / "run", "tensorboard": True, "log_every": 1}
    train(small_run(baseline=False, run=run), load_bars)
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard" / "round-1-swwae")).Reload()
    rows = numbers(tmp_path / "run")
    assert [event.step for event in events.Scalars("loss")] == [int(row["step"]) for row in rows]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx([float(row["loss"]) for row in rows])
    assert len(events.Scalars("test_error_percent")) == 3


def test_messages_go_to_the_screen_and_loggers_are_left_as_they_were(tmp_path, capsys):
    logger = logging.getLogger("wwae")
    before = (logger.level, logger.propagate, list(logger.handlers))
    train(small_run(tmp_path / "run", baseline=False, epochs=1), load_bars)
    assert (logger.level, logger.propagate, list(logger.handlers)) == before
    assert "swwae 1/1: epoch 1/1, loss" in capsys.readouterr().err

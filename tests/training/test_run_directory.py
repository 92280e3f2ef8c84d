"""The files of a run."""

import json
import os
from pathlib import Path

import pytest
from synthetic import small_run

from wwae.training import ConfigurationError, RunDirectory, RunDirectoryError
from wwae.training.run_directory import METRICS_COLUMNS


def test_a_new_directory(tmp_path):
    configuration = small_run(tmp_path / "deep" / "run")
    directory = RunDirectory.create(tmp_path / "deep" / "run", configuration)
    assert sorted(os.listdir(directory.path)) == ["checkpoints", "config.toml", "figures", "log.txt", "metrics.csv"]
    assert directory.metrics.read_text() == ",".join(METRICS_COLUMNS) + "\n"
    assert RunDirectory.open(directory.path).read_configuration() == configuration
    assert os.listdir(tmp_path / "deep") == ["run"]


def test_an_empty_directory_is_used(tmp_path):
    RunDirectory.create(tmp_path, small_run())
    assert (tmp_path / "config.toml").exists()


def test_a_used_directory_is_refused_and_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunDirectoryError, match=r"run.dir: expected a directory .* which holds notes.txt; name another one$"):
        RunDirectory.create(tmp_path, small_run())
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_the_directory_of_a_run_is_refused_with_a_hint(tmp_path):
    RunDirectory.create(tmp_path / "run", small_run())
    with pytest.raises(RunDirectoryError, match="or --resume to continue the run in it"):
        RunDirectory.check_new(tmp_path / "run")


def test_a_file_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(RunDirectoryError, match=r"run.dir: expected a directory, got .*run, which is a file"):
        RunDirectory.check_new(tmp_path / "run")
    with pytest.raises(RunDirectoryError, match=r"cannot write .*run/inside: .*run is not a directory one may write to"):
        RunDirectory.check_new(tmp_path / "run" / "inside")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_place_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunDirectoryError, match="cannot write"):
        RunDirectory.create(tmp_path / "run", small_run())


def test_an_unwritable_file_system_is_refused():
    # /proc takes no new directories, not even from root.
    with pytest.raises(RunDirectoryError, match=r"run\.dir: cannot write /proc/run"):
        RunDirectory.create(Path("/proc/run"), small_run())


def test_a_failure_while_it_is_made_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(RunDirectoryError, match=r"run\.dir: cannot write .*: No space left on device"):
        RunDirectory.create(tmp_path / "run", small_run())
    assert os.listdir(tmp_path) == []


def test_opening_what_is_no_run(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"expected the directory of a run, got .*, which has no config\.toml"):
        RunDirectory.open(tmp_path)


def test_a_damaged_configuration_is_named(tmp_path):
    directory = RunDirectory.create(tmp_path / "run", small_run())
    directory.config.write_text("epochs = 'many'")
    with pytest.raises(ConfigurationError, match=r"config\.toml: epochs: "):
        directory.read_configuration()


def row(step, network="swwae", round_number=1, **columns):
    return {"round": round_number, "network": network, "step": step, "loss": 0.1 + step, **columns}


def test_metrics_keep_every_digit_and_leave_out_what_was_not_measured(tmp_path):
    directory = RunDirectory.create(tmp_path / "run", small_run())
    directory.append_metrics(row(1) | {"loss": 0.1 + 0.2})
    directory.append_metrics(row(2, test_error_percent=12.5))
    first, second = directory.read_metrics()
    assert float(first["loss"]) == 0.1 + 0.2
    assert first["test_error_percent"] == ""
    assert second["test_error_percent"] == "12.5"
    with pytest.raises(ValueError, match=r"expected columns of metrics\.csv, got eror"):
        directory.append_metrics(row(3, eror=1))


def test_rows_after_a_checkpoint_are_dropped(tmp_path):
    directory = RunDirectory.create(tmp_path / "run", small_run())
    rows = [row(4), row(8), row(4, "convnet"), row(8, "convnet"), row(4, round_number=2), row(8, round_number=2)]
    for each in rows:
        directory.append_metrics(each)
    directory.drop_metrics_after(2, "swwae", 4)
    kept = [(r["round"], r["network"], r["step"]) for r in directory.read_metrics()]
    assert kept == [(str(r["round"]), r["network"], str(r["step"])) for r in rows[:-1]]
    assert directory.metrics.read_text().count("round,") == 1


def test_a_row_that_was_cut_off_is_dropped(tmp_path):
    directory = RunDirectory.create(tmp_path / "run", small_run())
    directory.append_metrics(row(4))
    whole = directory.metrics.read_text()
    directory.append_metrics(row(8))
    text = directory.metrics.read_text()
    for end in range(len(whole) + 1, len(text) - 1):
        directory.metrics.write_text(text[:end])
        directory.drop_metrics_after(1, "swwae", 4)
        assert directory.metrics.read_text() == whole


def test_a_foreign_metrics_file_is_refused(tmp_path):
    directory = RunDirectory.create(tmp_path / "run", small_run())
    directory.metrics.write_text("a,b\n1,2\n")
    with pytest.raises(RunDirectoryError, match=r"metrics\.csv: expected the header round,network,"):
        directory.read_metrics()


def test_summary(tmp_path):
    directory = RunDirectory.create(tmp_path / "run", small_run())
    directory.write_summary({"seed": 1, "metrics": {"test_error": 12.5}})
    assert json.loads(directory.summary.read_text()) == {"seed": 1, "metrics": {"test_error": 12.5}}

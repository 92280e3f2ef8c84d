import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import wwae.cli.train
from wwae.cli import main
from wwae.training import RunDirectory, TrainingConfiguration

Train = Callable[..., int]


def test_a_run_writes_its_directory_and_prints_both_errors(train_tiny: Train, tmp_path: Path, capsys) -> None:
    path = tmp_path / "run"
    assert train_tiny("--seed=5", f"--run.dir={path}") == 0
    for name in ("config.toml", "metrics.csv", "log.txt", "checkpoints", "summary.json"):
        assert (path / name).exists()
    assert (path / "figures/reconstructions.png").stat().st_size > 0 and (path / "figures/curves.png").exists()
    summary = json.loads((path / "summary.json").read_text())
    assert summary["recipe"] == "mnist-swwae" and summary["seed"] == 5 and summary["epochs"] == 1
    assert summary["command"].startswith("wwae train mnist-swwae ") and "--seed=5" in summary["command"]
    assert summary["seconds"] > 0 and summary["device"].startswith("cpu")
    metrics = summary["metrics"]
    assert {"test_error", "baseline_test_error", "reconstruction_l2"} <= set(metrics)
    printed = capsys.readouterr().out
    assert f"{metrics['test_error']:.2f} %" in printed and f"{metrics['baseline_test_error']:.2f} %" in printed
    assert str(path / "figures/reconstructions.png") in printed and "mnist-swwae, 20 labels, 1 epochs" in printed


def test_the_run_directory_is_named_after_recipe_and_time(train_tiny: Train, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert train_tiny("--no-baseline") == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("mnist-swwae-2")
    assert "baseline_test_error" not in json.loads((run / "summary.json").read_text())["metrics"]


def test_the_command_line_wins_over_the_file_and_the_file_over_the_recipe(monkeypatch, tmp_path: Path, capsys) -> None:
    seen = []

    def record(configuration: TrainingConfiguration, load_data, command: str) -> dict:
        seen.append(configuration)
        return {"recipe": configuration.recipe, "epochs": configuration.epochs, "seconds": 1.0, "metrics": {}}

    monkeypatch.setattr(wwae.cli.train, "train", record)
    file = tmp_path / "settings.toml"
    file.write_text("epochs = 7\nseed = 8\n[data]\nlabels = 600\n[optimizer]\nlr = 0.5\n")
    words = ["--seed=9", "--dropout", "0.25", "--optimizer.lr", "1e-4", "--loss.reconstruction=3", "--data.root=x"]
    assert (
        main(
            [
                "train",
                "--config",
                str(file),
                *words,
                "mnist-swwae",
                "--precision=bfloat16",
                "--rounds=4",
                "--pooling=soft",
                "--beta=5",
            ]
        )
        == 0
    )
    (configuration,) = seen
    assert (configuration.epochs, configuration.seed, configuration.rounds) == (7, 9, 4)
    assert (configuration.data.labels, configuration.data.dataset, configuration.data.root) == (600, "mnist", Path("x"))
    assert (configuration.model.dropout, configuration.optimizer.lr, configuration.loss.reconstruction) == (0.25, 1e-4, 3)
    assert configuration.precision == "bfloat16"
    assert (configuration.model.pooling, configuration.model.beta) == ("soft", 5.0)
    assert main(["train"]) == 0 and seen[1].recipe == "digits"
    assert main(["train", "--labels=all", "--data.labels", "100"]) == 0 and seen[2].data.labels == 100


def test_a_saved_configuration_starts_the_same_recipe_again(finished_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "again"
    assert main(["train", "--config", str(finished_run / "config.toml"), f"--run.dir={path}"]) == 0
    first, second = (json.loads((run / "summary.json").read_text()) for run in (finished_run, path))
    assert first["metrics"] == second["metrics"] and second["recipe"] == "mnist-swwae"


def test_an_interrupted_run_resumes_to_the_same_numbers(train_tiny: Train, tmp_path: Path, monkeypatch, capsys) -> None:
    whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
    assert train_tiny("--epochs=3", f"--run.dir={whole}") == 0

    from wwae.training.fit import Fit

    advance = Fit.advance

    def stop_at_step_3(fit: Fit):
        if fit.step == 3:
            raise KeyboardInterrupt
        return advance(fit)

    with monkeypatch.context() as patch:
        patch.setattr(Fit, "advance", stop_at_step_3)
        assert train_tiny("--epochs=3", f"--run.dir={interrupted}") == 130
    assert f"wwae train --resume {interrupted}" in capsys.readouterr().err
    assert not (interrupted / "summary.json").exists()
    assert main(["train", "--resume", str(interrupted)]) == 0

    first, second = (RunDirectory(path).read_metrics() for path in (whole, interrupted))
    timed = {"seconds", "images_per_second"}
    assert [{k: v for k, v in row.items() if k not in timed} for row in first] == [
        {k: v for k, v in row.items() if k not in timed} for row in second
    ]
    first, second = (json.loads((path / "summary.json").read_text())["metrics"] for path in (whole, interrupted))
    assert first == second


def test_a_signal_says_how_to_continue(data_root: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    words = ["mnist-swwae", f"--data.root={data_root}", "--labels=20", "--epochs=100000", f"--run.dir={path}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "wwae", "train", *words, "--model.architecture=(2)3c-2p-10fc"],
        stderr=subprocess.PIPE,
        text=True,
        # A suite that a shell runs in the background ignores the signal, and so would this process.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 60
        while not (path / "metrics.csv").exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors and f"continue with: wwae train --resume {path}" in errors


def test_resume_refuses_other_settings(finished_run: Path, capsys) -> None:
    assert main(["train", "--resume", str(finished_run), "--epochs=9"]) == 2
    assert "epochs: expected 1 as the run to resume was started with, got 9" in capsys.readouterr().err
    for words in (["mnist-swwae"], ["--config=x.toml"], ["--run.dir=elsewhere"]):
        assert main(["train", "--resume", str(finished_run), *words]) == 2
        assert "expected no RECIPE" in capsys.readouterr().err


def test_resume_of_a_finished_run_repeats_its_result(finished_run: Path, capsys) -> None:
    before = json.loads((finished_run / "summary.json").read_text())["metrics"]
    assert main(["train", "--resume", str(finished_run)]) == 0
    assert json.loads((finished_run / "summary.json").read_text())["metrics"] == before
    assert "mean of 2 rounds" in capsys.readouterr().out


WRONG = {
    "unknown recipe": (["mnst-swwae"], "unknown recipe 'mnst-swwae', did you mean 'mnist-swwae'?"),
    "unknown option": (["--lables", "100"], "unknown option '--lables', did you mean '--labels'?"),
    "unknown dotted option": (["--optimiser.lr=1"], "unknown option '--optimiser.lr', did you mean '--optimizer.lr'?"),
    "option without its group": (["--batch_norm"], "did you mean '--model.batch_norm'?"),
    "abbreviated option": (["--epoch=3"], "unknown option '--epoch', did you mean '--epochs'?"),
    "second recipe": (["digits", "mnist-swwae"], "unexpected argument 'mnist-swwae'"),
    "missing value": (["--epochs"], "--epochs: expected one argument"),
    "no number": (["--epochs=many"], "epochs: "),
    "out of range": (["--dropout=1"], "model.dropout: "),
    "unknown choice": (["--loss.mode=self"], "loss.mode: "),
    "several at once": (["--epochs=0", "--seed=-1"], "seed: "),
    "unknown device": (["--device=tpu"], "device: "),
    "labels not balanced": (["--labels=105"], "got 105 (nearest: 100 or 110)"),
    "more labels than images": (["--labels=5000"], "data.labels: expected at most 1310"),
    "too large a validation set": (["--data.validation=5000"], "data.validation: expected from 0 to 1351"),
    "too small an image": (["--data.image_size=4"], "data.image_size: expected at least 8"),
    "bad notation": (["--model.architecture=(64)5c-2q-10fc"], "model: "),
    "too few outputs": (["--model.architecture=(2)3c-2p-4fc"], "model.architecture: expected a last layer of at least 10fc"),
    "missing file": (["--config=nowhere.toml"], "nowhere.toml: cannot be read"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_ends_with_status_2_before_anything_is_written(name: str, tmp_path: Path, monkeypatch, capsys):
    words, message = WRONG[name]
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words, "--run.dir=run"] if name != "missing value" else ["train", *words]) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.startswith("wwae train: error: ") and printed.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "unknown setting 'epoch', did you mean 'epochs'?"),
        ("[optimizer]\nlearning_rate = 3", "unknown setting 'optimizer.learning_rate'"),
        ("[loss]\nreconstuction = 3", "did you mean 'loss.reconstruction'?"),
        ("epochs = 0", "epochs: "),
        ("epochs = = 3", "is not valid TOML"),
        ('recipe = "mnist"', "unknown recipe 'mnist', did you mean 'mnist-swwae'?"),
    ],
)
def test_a_wrong_file_is_refused_with_status_2(text: str, message: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("settings.toml").write_text(text)
    assert main(["train", "--config=settings.toml", "--run.dir=run"]) == 2
    errors = capsys.readouterr().err
    assert message in errors and not Path("run").exists()


def test_a_file_of_another_recipe_is_refused(finished_run: Path, capsys) -> None:
    assert main(["train", "digits", "--config", str(finished_run / "config.toml")]) == 2
    assert "recipe: expected the one of" in capsys.readouterr().err


def test_a_used_or_unwritable_run_directory_is_refused(finished_run: Path, tmp_path: Path, capsys) -> None:
    before = sorted(path.name for path in finished_run.iterdir())
    assert main(["train", f"--run.dir={finished_run}"]) == 2
    assert "run.dir: expected a directory that does not exist or is empty" in capsys.readouterr().err
    assert sorted(path.name for path in finished_run.iterdir()) == before
    (tmp_path / "file").touch()
    assert main(["train", f"--run.dir={tmp_path / 'file' / 'run'}"]) == 2
    assert "run.dir: cannot write" in capsys.readouterr().err


def test_missing_or_damaged_data_end_with_status_1_before_anything_is_written(
    train_tiny: Train, data_root: Path, tmp_path: Path, capsys
) -> None:
    path = tmp_path / "run"
    assert train_tiny(f"--data.root={tmp_path / 'nothing'}", f"--run.dir={path}") == 1
    errors = capsys.readouterr().err
    assert errors.count("-ubyte.gz") == 4 and "http://yann.lecun.com/exdb/mnist/" in errors
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in data_root.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes()[:-9] if "t10k-images" in file.name else file.read_bytes())
    assert train_tiny(f"--data.root={damaged}", f"--run.dir={path}") == 1
    assert "t10k-images-idx3-ubyte.gz: truncated" in capsys.readouterr().err
    assert not path.exists()


def test_a_damaged_checkpoint_is_named(train_tiny: Train, tmp_path: Path, capsys) -> None:
    path = tmp_path / "run"
    assert train_tiny(f"--run.dir={path}") == 0
    checkpoint = path / "checkpoints/round-1-swwae.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    assert main(["train", "--resume", str(path)]) == 1
    assert str(checkpoint) in capsys.readouterr().err


def test_a_defect_of_the_program_keeps_its_traceback(monkeypatch) -> None:
    def broken(*arguments, **keywords):
        raise AssertionError("a defect")

    monkeypatch.setattr(wwae.cli.train, "train", broken)
    with pytest.raises(AssertionError, match="a defect"):
        main(["train"])


@pytest.mark.parametrize("mode", ["supervised", "unsupervised"])
def test_the_other_modes_of_the_trainer(mode: str, train_tiny: Train, tmp_path: Path, capsys) -> None:
    path = tmp_path / "run"
    assert train_tiny(f"--loss.mode={mode}", f"--run.dir={path}") == 0
    metrics = json.loads((path / "summary.json").read_text())["metrics"]
    assert ("test_error" in metrics) == (mode == "supervised")
    assert ("reconstruction_l2" in metrics) == (mode == "unsupervised")
    assert str(path) in capsys.readouterr().out


def test_all_labels(train_tiny: Train, tmp_path: Path, capsys) -> None:
    assert train_tiny("--labels=all", f"--run.dir={tmp_path / 'run'}") == 0
    assert "mnist-swwae, all labels" in capsys.readouterr().out

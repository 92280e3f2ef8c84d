"""Runs in stages from the command line: train, stage by stage, evaluate and report."""

import json
import shutil
from pathlib import Path

import pytest

from wwae.cli import main
from wwae.training import RunDirectory

TINY = [
    "--model.network=(4)3c-2p-(4)3c-2p-10fc",
    "--labels=20",
    "--data.train_images=40",
    "--data.image_size=28",
    "--epochs=2",
    "--classifier.epochs=2",
    "--layerwise.epochs=1",
    "--layerwise.rates=1e-4,1e-4",
    "--stacked.epochs=1",
    "--run.evaluate_every=1",
    "--device=cpu",
]


@pytest.fixture(scope="session")
def staged_run(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("staged") / "seed-0"
    assert main(["train", "mnist-vgg-swwae-all", f"--data.root={data_root}", *TINY, f"--run.dir={path}"]) == 0
    return path


@pytest.fixture
def train_variant(data_root: Path):
    def train(recipe: str, *words: str) -> int:
        return main(["train", recipe, f"--data.root={data_root}", *TINY, *words])

    return train


def test_a_run_prints_its_stages_and_its_difference(train_variant, tmp_path, capsys):
    path = tmp_path / "run"
    assert train_variant("mnist-vgg-swwae-all", f"--run.dir={path}") == 0
    printed = capsys.readouterr().out
    for word in ("SWWAE-all", "classifier test error", "layerwise", "stacked", "joint", "control", "curves.png", str(path)):
        assert word in printed
    summary = json.loads((path / "summary.json").read_text())
    assert summary["command"].startswith("wwae train mnist-vgg-swwae-all")
    assert set(summary["stages"]) == {"classifier", "initial", "layerwise", "stacked", "joint", "control"}


def test_stages_one_by_one_end_with_the_same_numbers(staged_run, train_variant, tmp_path, capsys):
    path = tmp_path / "run"
    assert train_variant("mnist-vgg-swwae-all", "--stage=0", f"--run.dir={path}") == 0
    assert f"not all stages are finished: wwae train --resume {path}" in capsys.readouterr().out
    assert main(["train", "--resume", str(path), "--stage", "3"]) == 2
    assert "stage 3 (stacked) starts from the weights of stage 2 (layerwise), which is not finished in" in capsys.readouterr().err
    assert main(["train", "--resume", str(path)]) == 0
    metrics = [json.loads((each / "summary.json").read_text())["metrics"] for each in (path, staged_run)]
    assert metrics[0] == metrics[1]


def test_a_stage_without_its_predecessor_writes_nothing(train_variant, tmp_path, capsys):
    assert train_variant("mnist-vgg-sae-first", "--stage=2", f"--run.dir={tmp_path / 'run'}") == 2
    assert "run that first, with --stage 1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_variant_takes_over_what_it_shares(staged_run, train_variant, tmp_path, capsys):
    path = tmp_path / "run"
    assert train_variant("mnist-vgg-sae-all", f"--start-from={staged_run}", f"--run.dir={path}") == 0
    assert f"taken from {staged_run}: classifier, initial, control" in capsys.readouterr().err
    ours, theirs = (json.loads((each / "summary.json").read_text())["stages"] for each in (path, staged_run))
    assert ours["control"] == theirs["control"] and ours["layerwise"] != theirs["layerwise"]


def test_options_belong_to_the_kind_of_recipe(capsys):
    assert main(["train", "digits", "--joint.lr=1"]) == 2
    assert "unknown option '--joint.lr'" in capsys.readouterr().err
    assert main(["train", "mnist-vgg-sae-all", "--rounds=2"]) == 2
    assert "unknown option '--rounds'" in capsys.readouterr().err
    assert main(["train", "mnist-vgg-sae-all", "--layerwise.rates=1,x"]) == 2
    assert "layerwise.rates" in capsys.readouterr().err
    assert main(["train", "mnist-vgg-sae-all", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "--stage N" in printed and "--layerwise.processes" in printed and "--rounds" not in printed


def test_evaluate_prints_and_writes_the_protocols(staged_run, tmp_path, capsys):
    path = tmp_path / "run"
    shutil.copytree(staged_run, path)
    assert main(["evaluate", str(path), "--train-images", "10", "--device=cpu"]) == 0
    printed = capsys.readouterr().out
    assert "of 10 training images, and fully convolutional\n" in printed, "digits have no mirror image"
    for word in ("classifier before", "control, no decoder", "SWWAE-all", "with known switches", "change of the weights"):
        assert word in printed
    result = json.loads((path / "evaluation.json").read_text())
    summary = json.loads((path / "summary.json").read_text())
    assert result["networks"]["joint"]["top1"] == summary["metrics"]["test_error"]
    assert (path / "figures" / "filters.png").read_bytes().startswith(b"\x89PNG")
    assert main(["report", str(path)]) == 0
    table = capsys.readouterr().out
    assert table.count("| SWWAE-all | ") == 4 and "convolution, top-5" in table


def test_report_puts_the_gain_beside_table_1_and_averages_over_seeds(staged_run, tmp_path, capsys):
    other = tmp_path / "seed-1"
    shutil.copytree(staged_run, other)
    directory = RunDirectory(other)
    directory.config.write_text(directory.config.read_text().replace("seed = 0", "seed = 1"))
    summary = json.loads(directory.summary.read_text())
    for run, control, augmented in ((staged_run, 20.0, 18.0), (other, 22.0, 21.0)):
        summary["metrics"] |= {"baseline_test_error": control, "test_error": augmented}
        copy = tmp_path / f"copy-{run.name}"
        shutil.copytree(run, copy)
        RunDirectory(copy).write_summary(summary)
    picture = tmp_path / "curves.png"
    assert main(["report", str(tmp_path / "copy-seed-0"), str(tmp_path / "copy-seed-1"), f"--curves={picture}"]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    lines = [line.replace(" ", "") for line in capsys.readouterr().out.splitlines()]
    assert "|copy-seed-0|mnist|20|0|SWWAE-all|singlecrop,top-1|20.00|18.00|-2.00|-1.66|" in lines
    assert "|mean|mnist|20|2seeds|SWWAE-all|singlecrop,top-1|21.00±1.41|19.50±2.12|-1.50±0.71|-1.66|" in lines


def test_report_draws_only_what_it_can(staged_run, finished_run, tmp_path, capsys):
    assert main(["report", str(staged_run), f"--curves={tmp_path / 'curves.txt'}"]) == 2
    assert "--curves: expected a name that ends in .png" in capsys.readouterr().err
    assert main(["report", str(finished_run), f"--curves={tmp_path / 'curves.png'}"]) == 2
    assert "--curves: expected runs in stages, got none" in capsys.readouterr().err


def test_report_says_what_is_damaged(staged_run, tmp_path, capsys):
    path = tmp_path / "run"
    shutil.copytree(staged_run, path)
    (path / "evaluation.json").write_text("{")
    assert main(["report", str(path)]) == 1
    assert "evaluation.json: damaged" in capsys.readouterr().err


def test_evaluate_names_a_stage_that_is_missing(staged_run, tmp_path, capsys):
    path = tmp_path / "run"
    shutil.copytree(staged_run, path)
    RunDirectory(path).stage_checkpoint("joint").unlink()
    assert main(["evaluate", str(path)]) == 1
    assert "joint.pt: no such checkpoint" in capsys.readouterr().err

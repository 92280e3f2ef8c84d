import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import wwae
from wwae.cli import main
from wwae.cli.command import COMMANDS
from wwae.recipes import RECIPES
from wwae.training import TrainingConfiguration


def words_of(text: str) -> str:
    """The text without its line breaks, some of which stand after a hyphen."""
    return " ".join(text.split()).replace("- ", "-")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys) -> None:
    assert main([name, "--help"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"usage: wwae {name}") and printed.err == ""


@pytest.mark.parametrize("words", [["--help"], ["recipes"]], ids=" ".join)
def test_a_reader_that_goes_away_is_no_traceback(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    finished = subprocess.run([sys.executable, "-m", "wwae", *words], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert finished.returncode == 1 and finished.stderr == ""


def test_the_help_of_train_explains_every_setting_with_its_default(capsys) -> None:
    assert main(["train", "fashion-mnist-swwae", "--help"]) == 0
    text = words_of(capsys.readouterr().out)
    defaults = RECIPES["fashion-mnist-swwae"].configuration()
    for name, field in TrainingConfiguration.model_fields.items():
        if name in ("recipe", "resume"):
            continue
        group = type(getattr(defaults, name))
        inner = {f"{name}.{key}": each for key, each in getattr(group, "model_fields", {}).items()}
        for option, described in (inner or {name: field}).items():
            assert f"--{option}" in text
            assert words_of(described.description) in text, option
    assert "(default: fashion-mnist)" in text and "--labels" in text and "--dropout" in text


def test_without_a_command_the_commands_are_listed(capsys) -> None:
    assert main([]) == 2 and main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in COMMANDS)


def test_version(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"wwae {wwae.__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tran"], "unknown command 'tran', did you mean 'train'?"),
        (["frobnicate"], "known are train, evaluate"),
        (["--versoin"], "did you mean '--version'?"),
        (["evaluate"], "the following arguments are required: RUN"),
        (["evaluate", "x", "y"], "unexpected argument 'y'"),
        (["recipes", "--all"], "unknown option '--all'"),
        (["reconstruct", "x", "--count=0"], "--count: expected 1 to 64, got 0"),
    ],
)
def test_a_wrong_command_line_ends_with_status_2(words: list[str], message: str, capsys) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate", "reconstruct", "report"])
def test_a_directory_that_is_no_run_is_refused(command: str, tmp_path: Path, capsys) -> None:
    assert main([command, str(tmp_path)]) == 2
    assert f"expected the directory of a run, got {tmp_path}" in capsys.readouterr().err


def test_recipes_are_listed_with_the_number_of_the_paper(capsys) -> None:
    assert main(["recipes"]) == 0
    printed = capsys.readouterr().out
    assert all(recipe.name in printed and recipe.aim in printed for recipe in RECIPES.values())
    assert "8.71 ± 0.34 %" in printed


def test_info_shows_the_operations(capsys) -> None:
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    assert all(operation in printed for operation in wwae.backends())


def test_evaluate_measures_what_the_run_measured(finished_run: Path, capsys) -> None:
    assert main(["evaluate", str(finished_run), "--device=cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rounds = json.loads((finished_run / "summary.json").read_text())["rounds"]
    assert len(lines) == 4
    for line, (round_number, network) in zip(lines, [(1, "swwae"), (1, "convnet"), (2, "swwae"), (2, "convnet")], strict=True):
        assert line.startswith(f"round {round_number}  {network}")
        assert f"{rounds[round_number - 1][network]['test_error']:6.2f} %" in line
        assert ("reconstruction error" in line) == (network == "swwae")


def test_evaluate_names_data_that_moved(finished_run: Path, tmp_path: Path, capsys) -> None:
    assert main(["evaluate", str(finished_run), f"--data.root={tmp_path}"]) == 1
    assert f"mnist: 4 of 4 files missing: {tmp_path}" in capsys.readouterr().err


def test_reconstruct_draws_test_images(finished_run: Path, tmp_path: Path, capsys) -> None:
    assert main(["reconstruct", str(finished_run)]) == 0
    with Image.open(finished_run / "figures/reconstruct.png") as eight:
        eight_size = eight.size
    assert str(finished_run / "figures/reconstruct.png") in capsys.readouterr().out
    output = tmp_path / "three.png"
    assert main(["reconstruct", str(finished_run), "--count=3", "--round=2", f"--output={output}"]) == 0
    with Image.open(output) as three:
        # Four columns, one row an image: as wide as the other picture and less high.
        assert three.format == "PNG" and three.width == eight_size[0] and 2 * three.height < eight_size[1]


def test_reconstruct_draws_pictures_of_the_user(finished_run: Path, tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (90, 40, 3), dtype=np.uint8)
    names = ["a.jpg", "b.png"]
    for name in names:
        Image.fromarray(colour).save(tmp_path / name)
    output = tmp_path / "out.png"
    words = [str(tmp_path / name) for name in names]
    assert main(["reconstruct", str(finished_run), *words, "--output", str(output), "--data.root=unused"]) == 0
    with Image.open(output) as picture:
        values = np.asarray(picture.convert("L"))
    assert values.shape[1] > values.shape[0] > 0 and values.std() > 10


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["IMAGES/not.png"], 1, "not.png: not an image in a format that Pillow reads"),
        (["IMAGES/missing.png"], 1, "missing.png: cannot be read: No such file"),
        (["--output=IMAGES/x.jpg"], 2, "--output: expected a name that ends in .png"),
        (["--output=IMAGES/no/x.png"], 2, "--output: expected a file in an existing directory"),
        (["--round=3"], 1, "round-3-swwae.pt: no such checkpoint"),
        (["--device=cuda:99"], 2, "device: expected one of the"),
    ],
)
def test_reconstruct_refuses_what_it_cannot_draw(
    words: list[str], status: int, message: str, finished_run: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "not.png").write_text("text")
    assert main(["reconstruct", str(finished_run), *(word.replace("IMAGES", str(tmp_path)) for word in words)]) == status
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["not.png"]


def test_report_puts_runs_beside_the_paper(finished_run: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "like-the-paper"
    path.mkdir()
    (path / "checkpoints").mkdir()
    (path / "metrics.csv").touch()
    configuration = RECIPES["mnist-swwae"].configuration().updated({"model": {"dropout": 0.5}, "rounds": 3})
    (path / "config.toml").write_text(configuration.to_toml())
    metrics = {"test_error": 9.5, "test_error_std": 0.5, "baseline_test_error": 20.0, "baseline_test_error_std": 1.0}
    (path / "summary.json").write_text(json.dumps({"metrics": metrics}))
    assert main(["report", str(path), str(finished_run)]) == 0
    printed = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines() if line[:1] == "|"]
    assert rows[2] == [
        "like-the-paper", "100", "0.5", "3", "5", "0", "SWWAE", "9.50 ± 0.50", "8.71 ± 0.34", "+0.79"
    ]  # fmt: skip
    assert rows[3][6:] == ["convnet", "20.00 ± 1.00", "22.98", "-2.98"]
    assert rows[4][0] == finished_run.name and rows[4][8:] == ["-", "-"]
    assert "Table 5, SWWAE with dropout" in printed


def test_report_refuses_a_run_that_is_not_finished(finished_run: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "unfinished"
    (path / "checkpoints").mkdir(parents=True)
    for name in ("config.toml", "metrics.csv"):
        (path / name).write_bytes((finished_run / name).read_bytes())
    assert main(["report", str(path)]) == 1
    assert f"wwae train --resume {path}" in capsys.readouterr().err
    for text in ("{", "[]", '{"metrics": 3}'):
        (path / "summary.json").write_text(text)
        assert main(["report", str(path)]) == 1
        assert "summary.json: damaged" in capsys.readouterr().err


def test_a_missing_package_of_the_training_extra_is_named(monkeypatch, capsys) -> None:
    for module in [name for name in sys.modules if name.startswith(("wwae.cli.recipes", "wwae.recipes"))]:
        monkeypatch.delitem(sys.modules, module)

    def import_module(name: str):
        raise ModuleNotFoundError("No module named 'pydantic'", name="pydantic")

    monkeypatch.setattr("importlib.import_module", import_module)
    assert main(["recipes"]) == 1
    assert "pip install 'wwae[train]'" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "status"), [(["recipes"], 0), (["train", "nothing"], 2)])
def test_the_module_ends_with_the_status_of_the_command(words: list[str], status: int) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "wwae", *words],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert result.returncode == status and "Traceback" not in result.stderr
    assert (result.stdout == "") == (status != 0)

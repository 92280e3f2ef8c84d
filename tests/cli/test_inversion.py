"""``wwae train squeezenet-inversion`` and ``wwae reconstruct``, with a network of random weights and small pictures."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from coarse_pictures import write_pictures
from PIL import Image

from wwae.cli import main
from wwae.models import pretrained_classifier
from wwae.training import RunDirectory
from wwae.training.checkpoints import load_checkpoint
from wwae.training.decoder_fit import weights_digest

SOURCES = ("known", "fixed", "shuffled", "zeroed")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("inversion")
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1().state_dict(), folder / "squeezenet.pth")
    write_pictures(folder / "images", (60, 50))
    return [
        "squeezenet-inversion", f"--data.root={folder}", f"--model.weights={folder / 'squeezenet.pth'}", "--data.image_size=32",
        "--epochs=2", "--decoder.batch_size=2", "--device=cpu",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def finished(settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", *settings, f"--run.dir={path}"]) == 0
    return path


def test_every_pool_is_inverted_with_both_kinds_of_switches(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    expected = {f"psnr_{source}_pool{n}" for source in SOURCES for n in (1, 2, 3)}
    assert set(summary["metrics"]) == expected | {"psnr_mean_colour", "reconstruction_l2"}
    assert all(np.isfinite(value) for value in summary["metrics"].values())
    stages = {f"{kind}-{stage}" for kind in ("known", "fixed") for stage in ("layerwise", "pool1", "pool2", "pool3")}
    assert {path.stem for path in (finished / "checkpoints").iterdir()} == stages
    with Image.open(finished / "figures" / "reconstructions.png") as picture:
        assert min(picture.size) > 200


def test_the_encoder_stays_and_the_decoders_learn(finished: Path) -> None:
    encoder = pretrained_classifier("squeezenet1_1", RunDirectory(finished).read_configuration().model.weights)
    states = [load_checkpoint(finished / "checkpoints" / f"known-{stage}.pt") for stage in ("layerwise", "pool3")]
    assert all(state["encoder_digest"] == weights_digest(encoder) for state in states)
    first, last = (state["model"] for state in states)
    assert last and all(name.startswith("decoders.") for name in last)
    assert all(not torch.equal(first[name], last[name]) for name in last if name.endswith("weight"))
    rows = RunDirectory(finished).read_metrics()
    losses = [float(row["reconstruction_loss"]) for row in rows if row["network"] == "known-pool1"]
    assert len(losses) >= 1 and all(np.isfinite(losses))


def test_a_run_that_lost_its_last_stages_ends_with_the_same_numbers(finished: Path, settings: list[str], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for path in finished.rglob("*"):
        if path.is_file() and path.name not in ("summary.json", "fixed-pool3.pt", "known-pool2.pt"):
            (copy / path.relative_to(finished)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(finished)).write_bytes(path.read_bytes())
    assert main(["train", "--resume", str(copy)]) == 0
    again, before = (json.loads((path / "summary.json").read_text())["metrics"] for path in (copy, finished))
    assert again == before


def test_any_picture_is_reconstructed(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (7, 90), 200).save(tmp_path / "grey.png")
    Image.new("RGBA", (33, 5), (255, 0, 0, 90)).save(tmp_path / "transparent.png")
    pictures = [str(tmp_path / name) for name in ("grey.png", "transparent.png")]
    assert main(["reconstruct", str(finished), *pictures, "--layers", "pool1,pool3"]) == 0
    assert "2 images and reconstructions" in capsys.readouterr().out
    sizes = {}
    for name, words in (("one", pictures[:1]), ("test", ["--count", "2"])):
        output = tmp_path / f"{name}.png"
        assert main(["reconstruct", str(finished), *words, "--output", str(output)]) == 0
        sizes[name] = Image.open(output).size
    assert sizes["test"][1] > 1.7 * sizes["one"][1]


@pytest.mark.parametrize(("words", "message", "status"), [
    (["--layers", "pool1,pool4"], "--layers: expected some of pool1, pool2, pool3, got 'pool4', did you mean 'pool3'?", 2),
    (["--layers"], "argument --layers: expected at least one argument", 2),
    (["missing.png"], "missing.png: cannot be read", 1),
    (["--count", "65"], "--count: expected 1 to 64, got 65", 2),
    (["--round", "2"], "--round: expected 1, a run of an augmented or inverted classifier has no other, got 2", 2),
])  # fmt: skip
def test_mistakes_are_explained(finished: Path, words, message, status, capsys) -> None:
    assert main(["reconstruct", str(finished), *words]) == status
    assert message in capsys.readouterr().err


def test_the_report_has_a_row_for_each_layer(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(finished), str(finished)]) == 0
    lines = capsys.readouterr().out.splitlines()
    metrics = json.loads((finished / "summary.json").read_text())["metrics"]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:8]]
    assert cells[0] == ["run", "network", "epochs", "seed", "from", *SOURCES]
    values = [f"{metrics[f'psnr_{source}_pool2']:.2f}" for source in SOURCES]
    assert cells[3] == cells[6] == ["run", "squeezenet1_1", "2", "0", "pool2", *values]
    assert "pictures without numbers" in lines[-1]


def test_evaluate_says_that_nothing_is_classified(finished: Path, capsys) -> None:
    assert main(["evaluate", str(finished)]) == 2
    assert "classifies nothing" in capsys.readouterr().err


def test_nothing_is_written_where_a_picture_cannot_be_read(settings, tmp_path: Path, capsys) -> None:
    shutil.copytree(settings[1].removeprefix("--data.root="), tmp_path / "pictures")
    bad = tmp_path / "pictures" / "images" / "99.png"
    bad.write_text("no picture")
    words = ["train", *settings, f"--data.root={tmp_path / 'pictures'}", f"--run.dir={tmp_path / 'run'}"]
    assert main(words) == 1
    assert f"error: {bad}: " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("words", "message", "status"), [
    (["--model.weights=none.pth"], "none.pth: cannot be read: No such file", 1),
    (["--data.root=/nowhere"], "/nowhere: no such folder", 1),
    (["--model.network=resnet18"], "not the weights of ResNet\nmissing: bn1.bias", 1),
    (["--model.network=squeezenet"], "expected caffenet or a classifier of torchvision, got 'squeezenet'", 2),
    (["--data.test_every=11"], "expected 11 pictures or more", 1),
    (["--decoder.layers=pool3,pol2"], "decoder.layers: expected some of pool1, pool2, pool3, got 'pol2', did you mean 'pool2'?", 2),
    (["--decoder.layer=pool3"], "did you mean '--decoder.layers'?", 2),
])  # fmt: skip
def test_nothing_is_written_for_a_run_that_cannot_be(settings, tmp_path: Path, words, message, status, capsys) -> None:
    assert main(["train", *settings, *words, f"--run.dir={tmp_path / 'run'}"]) == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()

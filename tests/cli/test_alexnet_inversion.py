"""``wwae train alexnet-inversion`` and ``wwae reconstruct``, with a small AlexNet of random weights and small pictures."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from coarse_pictures import write_pictures
from PIL import Image
from small_alexnet import SmallAlexNet

from wwae.cli import main
from wwae.models import pretrained
from wwae.models.alexnet import ALEXNET_LAYERS
from wwae.training import RunDirectory
from wwae.training.checkpoints import load_checkpoint
from wwae.training.decoder_fit import DecoderFit

SOURCES = ("known", "fixed", "shuffled", "zeroed")
KINDS = ("known", "fixed")
KNOWN = f"expected some of {', '.join(ALEXNET_LAYERS)}"


@pytest.fixture(scope="module", autouse=True)
def small_caffenet() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "CaffeNet", SmallAlexNet)
        yield


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("inversion")
    torch.manual_seed(0)
    torch.save(SmallAlexNet().state_dict(), folder / "alexnet.pth")
    write_pictures(folder / "images", (90, 80))
    return [
        "alexnet-inversion", f"--data.root={folder}", "--model.network=caffenet", f"--model.weights={folder / 'alexnet.pth'}",
        "--data.image_size=67", "--epochs=2", "--decoder.batch_size=4", "--device=cpu",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def finished(settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", *settings, f"--run.dir={path}"]) == 0
    return path


def weights(run: Path, stage: str) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "checkpoints" / f"{stage}.pt")["model"]


def test_every_layer_is_inverted_with_both_kinds_of_switches(finished: Path) -> None:
    metrics = json.loads((finished / "summary.json").read_text())["metrics"]
    expected = {f"psnr_{source}_{layer}" for source in SOURCES for layer in ALEXNET_LAYERS}
    assert set(metrics) == expected | {"psnr_mean_colour", "reconstruction_l2"}
    assert all(np.isfinite(value) for value in metrics.values())
    stages = {f"{kind}-{stage}" for kind in KINDS for stage in ("layerwise", *ALEXNET_LAYERS)}
    assert {path.stem for path in (finished / "checkpoints").iterdir()} == stages
    assert {row["network"] for row in RunDirectory(finished).read_metrics()} == stages
    with Image.open(finished / "figures" / "reconstructions.png") as picture:
        assert picture.width > 8 * 67 and picture.height > 8 * 67  # a column for each layer, two test images with four rows each


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", ALEXNET_LAYERS)
def test_every_decoder_of_a_chain_learns_on_from_the_layerwise_one(finished: Path, kind: str, layer: str) -> None:
    before, after = weights(finished, f"{kind}-layerwise"), weights(finished, f"{kind}-{layer}")
    number = 1 + ALEXNET_LAYERS.index(layer)
    inner = {f"inner_products.{name}.{part}" for name in ALEXNET_LAYERS[5:number] for part in ("weight", "bias")}
    assert {name for name in after if not name.startswith("decoders.")} == inner
    assert {name.split(".")[1] for name in after if name.startswith("decoders.")} == {str(n) for n in range(min(number, 5))}
    assert set(after) <= set(before)
    for name in after:
        if name.endswith("weight"):
            assert not torch.equal(before[name], after[name]), name


def test_a_checkpoint_is_as_large_as_what_is_trained(finished: Path) -> None:
    whole = sum(parameter.numel() for parameter in SmallAlexNet().parameters())
    for path in (finished / "checkpoints").iterdir():
        state = load_checkpoint(path)
        assert not any(name.startswith("classifier") for name in state["model"])
        assert "optimizer" not in state
    conv1 = sum(value.numel() for value in weights(finished, "known-conv1").values())
    overhead = (finished / "checkpoints" / "known-conv1.pt").stat().st_size - 4 * conv1
    assert overhead < 4 * whole  # the encoder would be more than the names and random states


def test_a_run_that_is_killed_in_any_stage_ends_with_the_same_bits(
    finished: Path, settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, take, stop = tmp_path / "run", DecoderFit.advance, [("", 0)]

    def advance(fit: DecoderFit) -> object:
        if (fit.network, fit.step) == stop[0]:
            raise KeyboardInterrupt
        return take(fit)

    monkeypatch.setattr(DecoderFit, "advance", advance)
    words = ["train", *settings, "--run.checkpoint_every=2", f"--run.dir={run}"]
    for stop[0] in (("known-layerwise", 3), ("known-conv2", 1), ("fixed-fc8", 3)):
        assert main(words) == 130
        words = ["train", "--resume", str(run)]
    assert "optimizer" in load_checkpoint(run / "checkpoints" / "fixed-fc8.pt")
    assert main(["reconstruct", str(run), "--layers", "conv1", "fc7"]) == 0
    assert main(["reconstruct", str(run), "--layers", "fc8"]) == 1
    assert f"fixed-fc8 is not finished: wwae train --resume {run}" in capsys.readouterr().err
    stop[0] = ("", 0)
    assert main(words) == 0
    again, before = (json.loads((path / "summary.json").read_text())["metrics"] for path in (run, finished))
    assert again == before
    for path in (finished / "checkpoints").iterdir():
        mine, theirs = weights(run, path.stem), weights(finished, path.stem)
        assert set(mine) == set(theirs) and all(torch.equal(mine[name], theirs[name]) for name in mine)
    rows, expected = (RunDirectory(path).read_metrics() for path in (run, finished))
    for row in (*rows, *expected):
        del row["seconds"], row["images_per_second"]
    assert rows == expected


def test_chosen_layers_are_reconstructed_of_any_picture(finished: Path, tmp_path: Path, capsys) -> None:
    Image.new("L", (7, 90), 200).save(tmp_path / "grey.png")
    widths = {}
    for name, words in (
        ("all", []), ("two", ["--layers", "conv1", "fc8"]), ("commas", ["--layers", "fc8,conv1"]), ("one", ["--layers", "fc6"]),
    ):  # fmt: skip
        output = tmp_path / f"{name}.png"
        assert main(["reconstruct", str(finished), str(tmp_path / "grey.png"), "--output", str(output), *words]) == 0
        widths[name] = Image.open(output).width
    assert widths["one"] < widths["two"] == widths["commas"] < widths["all"]
    assert (tmp_path / "two.png").read_bytes() == (tmp_path / "commas.png").read_bytes()
    assert main(["reconstruct", str(finished), "--count", "2"]) == 0
    assert "2 images and reconstructions" in capsys.readouterr().out


def test_the_report_has_a_row_for_each_layer(finished: Path, capsys) -> None:
    assert main(["report", str(finished)]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "caffenet" in line]
    assert [next(layer for layer in ALEXNET_LAYERS if layer in row) for row in rows] == list(ALEXNET_LAYERS)


def test_some_layers_alone_are_trained_when_they_are_named(settings: list[str], tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    assert main(["train", *settings, "--epochs=1", "--decoder.layers=fc6, conv2", f"--run.dir={run}"]) == 0
    stages = {path.stem for path in (run / "checkpoints").iterdir()}
    assert stages == {f"{kind}-{stage}" for kind in KINDS for stage in ("layerwise", "conv2", "fc6")}
    assert "inner_products.fc7.weight" not in weights(run, "known-layerwise")
    printed = capsys.readouterr().out
    assert "conv2 " in printed and "fc6 " in printed and "fc8" not in printed
    assert main(["reconstruct", str(run), "--layers", "fc6"]) == 0
    assert main(["reconstruct", str(run), "--layers", "fc8"]) == 2
    assert "--layers: expected some of conv2, fc6, got 'fc8'" in capsys.readouterr().err


def test_decoders_belong_to_the_weights_they_were_trained_for(finished: Path, tmp_path: Path, capsys) -> None:
    run, other = tmp_path / "run", tmp_path / "other.pth"
    shutil.copytree(finished, run)
    torch.manual_seed(1)
    torch.save(SmallAlexNet().state_dict(), other)
    config = (run / "config.toml").read_text()
    first = RunDirectory(run).read_configuration().model.weights
    (run / "config.toml").write_text(config.replace(first, str(other)))
    (run / "summary.json").unlink()
    for words in (["reconstruct", str(run), "--layers", "conv1"], ["train", "--resume", str(run)]):
        assert main(words) == 1
        assert "its decoders were trained for a classifier with other weights" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "message"), [
    (["--data.image_size=66"], "data.image_size: expected 67 to 98 pixels, for which caffenet was made, got 66"),
    (["--data.image_size=99"], "data.image_size: expected 67 to 98 pixels, for which caffenet was made, got 99"),
    (["--decoder.layers=conv1,fc9"], f"decoder.layers: {KNOWN}, got 'fc9', did you mean 'fc8'?"),
    (["--decoder.layers=pool1"], f"decoder.layers: {KNOWN}, got 'pool1'"),
    (["--data.crops=square"], "data.crops: input should be 'vgg' or 'alexnet', got 'square'"),
])  # fmt: skip
def test_a_run_that_cannot_be_is_refused_before_anything_is_written(settings, tmp_path: Path, words, message, capsys) -> None:
    assert main(["train", *settings, *words, f"--run.dir={tmp_path / 'run'}"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_reconstruct_names_the_nearest_layer(finished: Path, capsys) -> None:
    assert main(["reconstruct", str(finished), "--layers", "conv1", "fc"]) == 2
    assert f"--layers: {KNOWN}, got 'fc', did you mean 'fc" in capsys.readouterr().err

"""``wwae reconstruct`` of a run in stages."""

from pathlib import Path

import pytest
from PIL import Image

from wwae.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    words = [
        "digits-vgg-swwae-all", "--model.network=(4)3c-2p-(4)3c-2p-10fc", "--data.image_size=8", "--classifier.epochs=1",
        "--layerwise.epochs=1", "--layerwise.rates=1e-4,1e-4", "--stacked.epochs=1", "--epochs=1", "--device=cpu",
        f"--run.dir={path}",
    ]  # fmt: skip
    assert main(["train", *words, "--stage", "0"]) == 0
    return path


def test_there_is_nothing_to_show_before_a_decoder_is_trained(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconstruct", str(run)]) == 1
    assert "expected one of joint, stacked, layerwise to be trained" in capsys.readouterr().err


def test_any_picture_is_reconstructed_from_every_pool(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", str(run)]) == 0
    Image.new("RGBA", (31, 7), (255, 0, 0, 90)).save(tmp_path / "odd.png")
    widths = {}
    for name, words in (("all", []), ("one", ["--layers", "pool2"])):
        output = tmp_path / f"{name}.png"
        assert main(["reconstruct", str(run), str(tmp_path / "odd.png"), "--output", str(output), *words]) == 0
        widths[name] = Image.open(output).width
    assert widths["all"] > 1.3 * widths["one"]
    assert main(["reconstruct", str(run), "--count", "2"]) == 0
    assert (run / "figures" / "reconstruct.png").is_file()
    assert main(["reconstruct", str(run), "--layers", "pool9"]) == 2
    assert "--layers: expected some of pool1, pool2, got 'pool9'" in capsys.readouterr().err

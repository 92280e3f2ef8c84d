"""The diagram of an augmented classifier: what it says, by the text of its SVG, and that it can be drawn at all."""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from small_alexnet import SmallAlexNet
from torch import nn

from wwae.cli import main
from wwae.models import alexnet_inversion, augment
from wwae.models.diagram import draw_diagram
from wwae.models.summary import summarise


@pytest.fixture
def model() -> nn.Module:
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3)]
    with torch.device("meta"):
        return augment(nn.Sequential(*layers, nn.Flatten(), nn.Linear(24, 5)), "all")


def texts(model: nn.Module, path: Path) -> list[str]:
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        draw_diagram(model, path, "the title")
    return [line.strip() for line in re.findall(r">([^<>]+)</(?:text|tspan)>", path.read_text())]


def test_poolings_of_one_layer_are_counted(tmp_path: Path) -> None:
    with torch.device("meta"):
        googlenet = augment(torchvision.models.googlenet(init_weights=False))
    assert "pool4: 30 convolutions, 5 pools 3x3, pool 2x2" in texts(googlenet, tmp_path / "diagram.svg")


@pytest.mark.parametrize("variant", ["first", "all", "layerwise"])
@pytest.mark.parametrize("switches", ["known", "fixed"])
def test_layers_decoders_switches_and_losses(model: nn.Module, tmp_path: Path, variant: str, switches: str) -> None:
    model.variant, model.switches = variant, switches
    found = texts(model, tmp_path / "diagram.svg")
    assert "the title" in found and "pool2: 1 convolution, pool 3x3" in found and "decoder of pool2" in found
    assert "4 → 6 maps" in found and "6 → 4 maps" in found
    assert found.count("switches") == (2 if switches == "known" else 0)
    assert found.count("fixed switches") == (0 if switches == "known" else 2)
    assert "loss: distance to the image" in found and "loss: classification" in found
    assert ("loss: distance to pool1" in found) == (variant != "first")
    assert found.count("map") == (2 if variant == "layerwise" else 1)


@pytest.mark.parametrize("variant", ["first", "layerwise"])
def test_inner_products_are_layers_like_the_others(tmp_path: Path, variant: str) -> None:
    model = alexnet_inversion("fc7", "known", SmallAlexNet(), variant)
    found = texts(model, tmp_path / "diagram.svg")
    below = ["the image", "conv1", "conv2", "conv3", "conv4", "conv5", "fc6"]
    losses = [text.removeprefix("loss: distance to ") for text in found if text.startswith("loss: distance")]
    assert sorted(losses) == sorted(below if variant == "layerwise" else below[:1])
    assert found.count("map") == (7 if variant == "layerwise" else 1)
    rows = [line.split() for line in summarise(model).splitlines() if line.startswith("fc")]
    assert [row[-2] for row in rows] == (["conv5", "fc6"] if variant == "layerwise" else ["-", "-"])


def test_the_command_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "inversion.png"
    assert main(["models", "show", "alexnet_inversion", "--from-layer", "fc7", "--figure", str(figure)]) == 0
    assert str(figure) in capsys.readouterr().out
    pixels = np.asarray(Image.open(figure).convert("RGB"))
    assert pixels.shape[0] > 500 and 0.02 < (pixels.min(2) < 250).mean() < 0.9
    for words, message in (("a.bmp", "expected a file that ends in .png, .svg, .pdf"), ("none/a.png", "an existing directory")):
        assert main(["models", "show", "vgg11_sae_all", "--figure", str(tmp_path / words)]) == 2
        assert message in capsys.readouterr().err

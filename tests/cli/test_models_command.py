"""``wwae models``."""

import pytest

from wwae.cli import main
from wwae.models.vgg import AUGMENTED_VGGS


def test_all_names_are_listed(capsys):
    assert main(["models"]) == 0
    assert capsys.readouterr().out.split() == [*AUGMENTED_VGGS, "alexnet_inversion", "torchvision_alexnet_inversion"]


def test_vgg16_is_shown_as_in_the_paper(capsys):
    assert main(["models", "show", "vgg16_swwae_all"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "vgg16_swwae_all: all, known switches"
    assert lines[2] == "macro-layer ends in channels convolutions parameters decoder reconstructs switches"
    # 64 (3 9 + 1) + 64 (64 9 + 1), and the same turned around, with 64 + 3 biases.
    assert lines[3] == "pool1 features.4 3 -> 64 2 38,720 38,659 image features.4, 2x2 stride 2"
    assert lines[7] == "pool5 features.30 512 -> 512 3 7,079,424 7,079,424 pool4 features.30, 2x2 stride 2"
    # VGG-16's, and of these the convolutions with the biases of the maps below: 14,714,688 - 4,224 + 3,715.
    assert lines[9] == "total 138,357,544 14,714,179"


def test_alexnet_is_inverted_from_its_inner_products(capsys):
    assert main(["models", "show", "alexnet_inversion", "--from-layer", "fc6", "--switches", "fixed"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "alexnet_inversion: first, fixed switches"
    # 96 maps of 3 11x11; three deconvolutions with 96 96 5x5, 96 48 11x11 and 48 3 5x5.
    assert lines[3] == "conv1 pool1 3 -> 96 1 34,944 791,715 image fixed at (1, 1), 3x3 stride 2"
    assert lines[5] == "conv3 relu3 256 -> 384 1 885,120 884,992 - -"
    assert lines[8] == "fc6 fc6 9216 -> 4096 0 37,752,832 37,757,952 - -"
    assert lines[10] == "total 60,965,224 40,848,643"


@pytest.mark.parametrize(("words", "expected"), [
    (["torchvision_alexnet_inversion", "--from-layer", "conv2"], ["features.5, 3x3 stride 2", "64 -> 192"]),
    (["vgg11_sae_first"], ["fixed at (1, 1), 2x2 stride 2", "vgg11_sae_first: first, fixed switches"]),
    (["squeezenet1_1", "--variant=layerwise", "--switches=fixed"], ["layerwise, fixed", "fixed at (1, 1), 3x3 stride 2", "stage4"]),
    (["resnet18", "--from-layer", "stage3"], ["maxpool, 3x3 stride 2", "layer2.1.relu"]),
])  # fmt: skip
def test_others(words, expected, capsys):
    assert main(["models", "show", *words]) == 0
    printed = capsys.readouterr().out
    assert all(each in printed for each in expected)
    assert "stage4" not in printed or words[0] != "resnet18"


@pytest.mark.parametrize(("words", "message"), [
    (["show"], "show needs the name of a model"),
    (["show", "vgg16_swwae_al"], "unknown model 'vgg16_swwae_al', did you mean 'vgg16_swwae_all'?"),
    (["show", "vgg16_swwae_all", "--from-layer", "pool9"], "one of pool1, pool2, pool3, pool4, pool5, got 'pool9'"),
    (["show", "vgg16_swwae_all", "--variant", "first"], "--variant is a part of the name vgg16_swwae_all"),
    (["show", "densenet121"], "features.transition1.pool has no mirror"),
    (["show", "alexnet_inversion", "--from-layer", "conv6"], "expected layer to be one of conv1, conv2"),
    (["show", "alexnet_inversion", "--variant", "all"], "--variant is first for alexnet_inversion"),
    (["show", "vgg16_swwae_all", "--figure", "a.txt"], "--figure: expected a file that ends in .png, .svg, .pdf, got a.txt"),
    (["show", "vgg16_swwae_all", "--figure", "none/a.png"], "--figure: expected a file in an existing directory, got none"),
    (["list", "resnet18"], "unexpected argument 'resnet18'"),
    (["shwo"], "invalid choice: 'shwo'"),
])  # fmt: skip
def test_mistakes_are_explained(words, message, capsys):
    assert main(["models", *words]) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.out == ""

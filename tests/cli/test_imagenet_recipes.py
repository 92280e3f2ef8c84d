"""The VGG-16 recipes: Table A-1 as settings, and their path from photographs on disk to a finished run, with a small network."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wwae.cli import main
from wwae.data import load_staged_data
from wwae.recipes import find_recipe
from wwae.training import ConfigurationError
from wwae.training.configuration import DataConfiguration
from wwae.training.reconstruction_loss import TABLE_A1


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of photographs of different sizes: bright ones and dark ones."""
    folder = tmp_path_factory.mktemp("imagenet")
    generator = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 3)):
        for label, level in (("n01-dark", 60), ("n02-bright", 160)):
            for number in range(count):
                path = folder / part / label / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                size = (40 + 3 * number, 36 + 5 * number, 3)
                Image.fromarray((level + generator.integers(0, 60, size)).astype(np.uint8)).save(path)
    return folder


def small(root: Path, *words: str) -> list[str]:
    return [
        "train",
        "vgg16-swwae-all",
        f"--data.root={root}",
        "--data.image_size=28",
        "--data.workers=0",
        "--model.network=(4)3c-2p-(6)3c-2p-2fc",
        "--classifier.epochs=2",
        "--classifier.batch_size=4",
        "--layerwise.rates=1e-5,1e-4",
        "--stacked.lr=1e-6",
        "--joint.batch_size=4",
        "--epochs=1",
        "--device=cpu",
        "--run.checkpoint_every=2",
        *words,
    ]


def test_the_settings_are_those_of_the_paper():
    configuration = find_recipe("vgg16-swwae-all").configuration()
    assert configuration.layerwise.rates == (3e-9, 1e-8, 3e-12, 1e-12, 1e-11)
    assert configuration.loss.balance == "caffe" and TABLE_A1 == (1e-4, 1e-12, 1e-12, 1e-12, 1e-10)
    assert (configuration.layerwise.batch_size, configuration.joint.batch_size) == (16, 64)
    assert configuration.classifier.epochs == 0 and configuration.data.image_size == 224


def test_photographs_are_cropped_at_random_and_measured_in_the_middle(root):
    data = load_staged_data(DataConfiguration(dataset="imagenet", root=root, labels="all", image_size=28), 0, 1)
    assert (len(data.labelled), len(data.test), data.classes, data.unlabelled) == (12, 6, 2, None)
    first = torch.tensor([0, 11])
    crops = data.labelled.read(first, seed=3)
    assert crops.images.shape == (2, 3, 28, 28) and crops.labels.tolist() == [0, 1]
    assert torch.equal(crops.images, data.labelled.read(first, seed=3).images)
    assert not torch.equal(crops.images, data.labelled.read(first, seed=4).images)
    assert torch.equal(data.test.read(first[:1]).images, data.test.read(first[:1]).images)
    assert data.whole is not None
    whole = data.whole.read(torch.tensor([2])).images
    # 46×46 pixels with the shorter side at 28 · 8/7.
    assert whole.shape == (1, 3, 32, 32)
    with pytest.raises(ValueError, match="expected one position, got 2"):
        data.whole.read(first)


def test_a_run_on_photographs_is_trained_and_evaluated(root, tmp_path, capsys):
    path = tmp_path / "run"
    assert main(small(root, f"--run.dir={path}")) == 0
    assert main(["evaluate", str(path), "--device=cpu"]) == 0
    assert "fully convolutional with mirror" in capsys.readouterr().out
    errors = json.loads((path / "evaluation.json").read_text())["networks"]["joint"]
    assert {"top1", "top5", "convolution_top1", "train_top1"} <= set(errors)


def test_processes_that_read_ahead_change_nothing(root, tmp_path):
    paths = [tmp_path / "alone", tmp_path / "ahead"]
    for path, workers in zip(paths, (0, 2), strict=True):
        assert main(small(root, f"--run.dir={path}", f"--data.workers={workers}", "--stage=0")) == 0
    states = [torch.load(path / "checkpoints" / "classifier.pt", weights_only=True)["model"] for path in paths]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--labels=20"], "data.labels: expected 'all' with imagenet, got 20"),
        (["--data.validation=5"], "data.validation: expected 0 with imagenet, got 5"),
        (["--classifier.epochs=0"], "model.weights: expected trained weights, a file or a name, since classifier.epochs = 0"),
        (["--model.network=(4)3c-2p-3fc"], "expected a last layer of 2fc for the classes of this dataset, got 3fc"),
        (["--model.weights=a.pth"], "model.weights: expected none for a network in notation, which starts from new weights"),
        (["--layerwise.rates=1"], "layerwise.rates: expected one rate for each of pool1, pool2, got 1"),
    ],
)
def test_what_does_not_fit_photographs_is_refused(root, tmp_path, words, message, capsys):
    assert main(small(root, f"--run.dir={tmp_path / 'run'}", *words)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_picture_that_cannot_be_read_ahead_is_named_in_one_line(root, tmp_path, capsys):
    shutil.copytree(root, tmp_path / "root")
    bad = tmp_path / "root" / "train" / "n01-dark" / "9.png"
    bad.write_text("no picture")
    assert main(small(tmp_path / "root", f"--run.dir={tmp_path / 'run'}", "--data.workers=1", "--stage=0")) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 1 and errors[0].startswith(f"wwae train: error: {bad}: ")


def test_missing_weights_and_photographs_are_named(root, tmp_path, capsys):
    words = ["train", "vgg16-sae-first", f"--run.dir={tmp_path / 'run'}"]
    assert main([*words, f"--data.root={tmp_path / 'nowhere'}", "--model.weights=vgg.pth"]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert main([*words, f"--data.root={root}", f"--model.weights={tmp_path / 'vgg.pth'}"]) == 1
    assert "vgg.pth" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_weights_of_another_number_of_classes_are_refused(root, tmp_path, capsys):
    models = pytest.importorskip("torchvision.models")
    torch.save(models.squeezenet1_1().state_dict(), tmp_path / "squeezenet.pth")
    words = [f"--run.dir={tmp_path / 'run'}", f"--model.weights={tmp_path / 'squeezenet.pth'}", "--model.network=squeezenet1_1"]
    assert main(small(root, *words, "--data.image_size=64", "--layerwise.rates=")) == 2
    assert "expected one score for each of the 2 classes of this dataset, got 1000" in capsys.readouterr().err


def test_data_of_runs_in_stages_are_no_data_of_others():
    with pytest.raises(ConfigurationError, match=r"data\.dataset: imagenet is for runs in stages"):
        from wwae.data import load_images

        load_images(DataConfiguration(dataset="imagenet"))

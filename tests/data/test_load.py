from pathlib import Path

import numpy as np
import pytest
import torch
from idx_files import write_data_set
from PIL import Image

from wwae.data import DataError, load_images, load_pictures, load_staged_data, select_training_data
from wwae.training import PictureConfiguration
from wwae.training.configuration import ConfigurationError, DataConfiguration


def test_digits_need_no_files() -> None:
    configuration = DataConfiguration(labels=100, validation=97)
    images = load_images(configuration)
    data = select_training_data(images, configuration, labelled_seed=0, validation_seed=0)
    assert (len(data.labelled), len(data.unlabelled), len(data.validation)) == (100, 1155, 97)
    assert len(data.test) == 445


@pytest.mark.parametrize("dataset", ["mnist", "fashion-mnist"])
def test_the_parts_hold_the_images_their_labels_belong_to(tmp_path: Path, dataset: str) -> None:
    write_data_set(tmp_path, train=200)
    configuration = DataConfiguration(dataset=dataset, root=tmp_path, labels=50, validation=30)
    data = select_training_data(load_images(configuration), configuration, labelled_seed=1, validation_seed=3)
    assert (len(data.labelled), len(data.unlabelled), len(data.validation)) == (50, 120, 30)
    for part in (data.labelled, data.validation, data.test):
        # The bright row of class c stands at 2 c + 2 after padding.
        rows = part.images[:, 0, :, 2:30].float().mean(2).argmax(1)
        assert torch.equal(rows, 2 * part.labels + 2)


def test_without_validation_there_is_no_validation_split(tmp_path: Path) -> None:
    write_data_set(tmp_path)
    configuration = DataConfiguration(dataset="mnist", root=tmp_path, labels="all")
    data = select_training_data(load_images(configuration), configuration, labelled_seed=0, validation_seed=0)
    assert data.validation is None and len(data.labelled) == 60 and data.unlabelled.shape == (0, 1, 32, 32)


def test_root_defaults_to_a_folder_named_after_the_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no such folder: data/fashion-mnist"):
        load_images(DataConfiguration(dataset="fashion-mnist"))
    write_data_set(Path("data/mnist"))
    assert len(load_images(DataConfiguration(dataset="mnist")).train) == 60


def test_too_many_labels_are_refused(tmp_path: Path) -> None:
    write_data_set(tmp_path)
    configuration = DataConfiguration(dataset="mnist", root=tmp_path, labels=100)
    with pytest.raises(ConfigurationError, match=r"data\.labels: expected at most 60"):
        select_training_data(load_images(configuration), configuration, labelled_seed=0, validation_seed=0)


def test_a_part_of_the_training_images_is_the_same_for_every_labelled_draw(tmp_path: Path) -> None:
    write_data_set(tmp_path, train=200)
    configuration = DataConfiguration(dataset="mnist", root=tmp_path, labels=20, validation=10, train_images=90)
    images = load_images(configuration)

    def everything(labelled_seed: int, validation_seed: int) -> tuple[torch.Tensor, list[int]]:
        data = select_training_data(images, configuration, labelled_seed=labelled_seed, validation_seed=validation_seed)
        parts = (data.labelled.images, data.unlabelled, data.validation.images)
        sums = torch.cat(parts).long().sum((1, 2, 3)).sort().values
        return sums, [len(part) for part in parts]

    first, sizes = everything(0, 3)
    assert sizes == [20, 60, 10]
    assert torch.equal(first, everything(1, 3)[0]) and not torch.equal(first, everything(0, 4)[0])


def test_more_training_images_than_there_are_are_refused(tmp_path: Path) -> None:
    write_data_set(tmp_path)
    configuration = DataConfiguration(dataset="mnist", root=tmp_path, train_images=61)
    with pytest.raises(ConfigurationError, match=r"data\.train_images: expected at most 60 or 'all', got 61"):
        select_training_data(load_images(configuration), configuration, labelled_seed=0, validation_seed=0)


def test_a_run_in_stages_has_the_same_images(tmp_path: Path) -> None:
    write_data_set(tmp_path, train=200)
    configuration = DataConfiguration(dataset="mnist", root=tmp_path, labels=50, validation=30)
    data = load_staged_data(configuration, 3, 1)
    expected = select_training_data(load_images(configuration), configuration, labelled_seed=1, validation_seed=3)
    assert (data.classes, len(data.labelled), len(data.unlabelled), len(data.everything)) == (10, 50, 120, 170)
    assert torch.equal(data.everything.read(torch.tensor([60])).images, expected.unlabelled[10:11])
    assert torch.equal(data.labelled.read(torch.arange(50)).labels, expected.labelled.labels)


@pytest.mark.parametrize(("crops", "sees_the_edges"), [("vgg", True), ("alexnet", False)])
def test_pictures_are_cropped_as_in_the_scheme_of_the_network(tmp_path: Path, crops: str, sees_the_edges: bool) -> None:
    """AlexNet's crops are of the central square alone, which is green; left and right of it pictures are red."""
    pixels = np.zeros((40, 120, 3), dtype=np.uint8)
    pixels[:, :, 0], pixels[:, 40:80] = 255, (0, 255, 0)
    for number in range(6):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    data = load_pictures(PictureConfiguration(root=tmp_path, image_size=32, crops=crops, test_every=3))
    assert (len(data.train), len(data.test)) == (4, 2)
    reds = torch.stack([data.train.read(torch.arange(4), seed).images[:, 0] for seed in range(5)])
    assert reds.shape == (5, 4, 32, 32)
    assert bool((reds > 0.9).any()) == sees_the_edges
    assert not (data.test.read(torch.arange(2)).images[:, 0] > 0.5).any()

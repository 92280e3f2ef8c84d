from pathlib import Path

import pytest
import torch
from idx_files import write_data_set

from wwae.data import DataError, load_images, select_training_data
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

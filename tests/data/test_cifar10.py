"""The reader of CIFAR-10: what it gives, and what it says of files that are missing, damaged, or something else."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from wwae.data import DataError, load_cifar10
from wwae.training import ConfigurationError

NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


def batch(count: int = 4, seed: int = 0) -> dict:
    data = np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)
    return {
        b"batch_label": b"made up",
        b"labels": [(seed + n) % 10 for n in range(count)],
        b"data": data,
        b"filenames": [b"a"] * count,
    }


def write(root: Path, **changed: object) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(NAMES):
        (root / name).write_bytes(pickle.dumps(changed.get(name, batch(seed=seed)), protocol=3))
    return root


def test_images_and_labels_are_those_of_the_files(tmp_path):
    data = load_cifar10(write(tmp_path / "cifar-10-batches-py"))
    assert (data.name, data.classes) == ("cifar10", 10)
    assert data.train.images.shape == (20, 3, 32, 32) and data.train.images.dtype == torch.uint8
    assert data.test.images.shape == (4, 3, 32, 32)
    assert data.train.labels.tolist() == [(seed + n) % 10 for seed in range(5) for n in range(4)]
    raw = batch(seed=1)[b"data"]
    # The planes stand one after the other, each row by row.
    assert data.train.images[4, 1, 2, 3] == raw[0, 1024 + 2 * 32 + 3]
    assert torch.equal(load_cifar10(tmp_path).train.images, data.train.images)


def test_all_missing_files_are_named_with_where_to_get_them(tmp_path):
    with pytest.raises(DataError, match=r"cifar10: no such folder: .*nowhere") as info:
        load_cifar10(tmp_path / "nowhere")
    assert all(name in str(info.value) for name in NAMES) and "https://www.cs.toronto.edu/~kriz/cifar.html" in str(info.value)
    (write(tmp_path) / "data_batch_3").unlink()
    with pytest.raises(DataError, match="1 of 6 files missing") as info:
        load_cifar10(tmp_path)
    assert "data_batch_3" in str(info.value) and "data_batch_2" not in str(info.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected a dictionary with data and labels"),
        ({b"data": np.zeros((2, 3072), np.uint8)}, "expected a dictionary with data and labels"),
        (
            batch() | {b"data": np.zeros((4, 3071), np.uint8)},
            r"expected data as a uint8 array of shape \(N, 3072\), got uint8 \(4, 3071\)",
        ),
        (batch() | {b"data": np.zeros((4, 3072), np.float32)}, r"got float32 \(4, 3072\)"),
        (batch() | {b"data": "text"}, "got str"),
        (batch() | {b"labels": [1, 2]}, "expected a list with one label for each of the 4 images, got 2"),
        (batch() | {b"labels": [1, 2, 10, 3]}, "expected labels from 0 to 9, got 10 at position 2"),
        (batch() | {b"labels": [1, "2", 3, 3]}, "expected labels from 0 to 9, got '2' at position 1"),
        (batch(0), "expected at least one image, got none"),
    ],
)
def test_a_batch_that_is_none_is_named(tmp_path, content, message):
    write(tmp_path, data_batch_2=content)
    with pytest.raises(DataError, match=message) as info:
        load_cifar10(tmp_path)
    assert "data_batch_2" in str(info.value)


def test_damaged_files_are_named(tmp_path):
    path = write(tmp_path) / "test_batch"
    whole = path.read_bytes()
    for damaged in (whole[:-100], whole[:10], b"", b"no pickle at all"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="test_batch: damaged, or no batch of CIFAR-10"):
            load_cifar10(tmp_path)


def test_code_in_a_file_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "touched",))

    write(tmp_path, data_batch_1=Harmful())
    with pytest.raises(DataError, match=r"data_batch_1: .*it names "):
        load_cifar10(tmp_path)
    assert not (tmp_path / "touched").exists()


def test_another_image_size_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"data\.image_size: expected 32, .*got 28"):
        load_cifar10(tmp_path, image_size=28)

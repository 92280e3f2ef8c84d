import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from idx_files import idx_bytes, write_data_set

from wwae.data import FASHION_MNIST, MNIST, DataError, load_idx, read_idx
from wwae.training.configuration import ConfigurationError

IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"


@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 5), (0, 4), ()])
@pytest.mark.parametrize("packed", [True, False])
def test_read_idx_returns_what_was_written(tmp_path: Path, shape: tuple[int, ...], packed: bool) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / ("values.gz" if packed else "values")
    path.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    result = read_idx(path)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("source", [MNIST, FASHION_MNIST])
def test_load_idx_pads_with_zeros_around_the_image(tmp_path: Path, source, packed: bool) -> None:
    arrays = write_data_set(tmp_path, train=30, test=12, packed=packed)
    data = load_idx(source, tmp_path)
    assert (data.name, data.classes) == (source.name, 10)
    assert data.train.images.shape == (30, 1, 32, 32) and data.test.images.shape == (12, 1, 32, 32)
    assert data.train.images.dtype == torch.uint8 and data.train.labels.dtype == torch.int64
    np.testing.assert_array_equal(data.train.images[:, 0, 2:30, 2:30].numpy(), arrays[IMAGES])
    np.testing.assert_array_equal(data.test.labels.numpy(), arrays["t10k-labels-idx1-ubyte"])
    border = torch.ones(32, 32, dtype=torch.bool)
    border[2:30, 2:30] = False
    assert data.train.images[:, 0, border].max() == 0


def test_load_idx_puts_an_odd_margin_below_and_to_the_right(tmp_path: Path) -> None:
    arrays = write_data_set(tmp_path, size=27)
    images = load_idx(MNIST, tmp_path, image_size=28).train.images
    np.testing.assert_array_equal(images[:, 0, :27, :27].numpy(), arrays[IMAGES])


def test_load_idx_refuses_an_image_size_below_the_images(tmp_path: Path) -> None:
    write_data_set(tmp_path)
    with pytest.raises(ConfigurationError, match=r"data.image_size: expected at least 28.*got 27"):
        load_idx(MNIST, tmp_path, image_size=27)


def test_load_idx_lists_every_missing_file_and_where_to_get_them(tmp_path: Path) -> None:
    write_data_set(tmp_path)
    (tmp_path / f"{LABELS}.gz").unlink()
    with pytest.raises(DataError) as info:
        load_idx(MNIST, tmp_path)
    message = str(info.value)
    assert "1 of 4 files missing" in message and str(tmp_path / f"{LABELS}.gz") in message
    assert IMAGES not in message and "http://yann.lecun.com/exdb/mnist/" in message
    with pytest.raises(DataError, match="fashion-mnist: no such folder") as info:
        load_idx(FASHION_MNIST, tmp_path / "nothing")
    assert str(info.value).count("-ubyte.gz") == 4 and "https://github.com/zalandoresearch/fashion-mnist" in str(info.value)


CONTENT = idx_bytes(np.arange(24).reshape(2, 3, 4))
DAMAGED_IDX = {
    "empty": (b"", "expected an idx file, which starts with two zero bytes"),
    "not idx": (b"<html>not found</html>", "expected an idx file, which starts with two zero bytes"),
    "float values": (CONTENT[:2] + b"\x0d" + CONTENT[3:], r"expected idx type code 8 \(unsigned byte\), got 13"),
    "header cut": (CONTENT[:9], "truncated: expected a header of 16 bytes, got a file of 9"),
    "values cut": (CONTENT[:-1], r"truncated: expected 40 bytes for shape \(2, 3, 4\), got 39"),
    "too long": (CONTENT + b"x", "longer than its header says: expected 40 bytes .*, got 41"),
    "huge sizes": (CONTENT[:4] + struct.pack(">3I", *[2**32 - 1] * 3) + CONTENT[16:], "truncated: expected"),
}


@pytest.mark.parametrize("name", DAMAGED_IDX)
@pytest.mark.parametrize("packed", [True, False])
def test_read_idx_names_a_damaged_file(tmp_path: Path, name: str, packed: bool) -> None:
    content, message = DAMAGED_IDX[name]
    path = tmp_path / ("damaged.gz" if packed else "damaged")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: {message}"):
        read_idx(path)


def test_read_idx_names_a_damaged_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "damaged.gz"
    noise = np.random.default_rng(0).integers(0, 256, 2000, dtype=np.uint8)
    packed = gzip.compress(idx_bytes(noise))
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 0xFF
    for content, message in (
        (packed[: len(packed) // 2], "truncated: the compressed data ends too early"),
        (bytes(flipped), "damaged gzip file"),
        (idx_bytes(noise), "damaged gzip file: Not a gzipped file"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"^{re.escape(str(path))}: {message}"):
            read_idx(path)


def test_read_idx_names_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.gz", tmp_path / "missing"):
        with pytest.raises(DataError, match=f"^{re.escape(str(path))}: cannot be read: No such file"):
            read_idx(path)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_idx(tmp_path)


WRONG_TOGETHER = {
    "counts differ": (LABELS, np.zeros(59), "expected one label for each of the 60 images of .*, got 59"),
    "label is no class": (
        LABELS,
        np.r_[np.zeros(41), 10, np.zeros(18)],
        "expected labels from 0 to 9, got 10 at position 41",
    ),
    "labels are pictures": (LABELS, np.zeros((60, 1)), r"expected labels of shape \(N,\), got shape \(60, 1\)"),
    "images are labels": (IMAGES, np.zeros(60), r"expected images of shape \(N, H, W\), got shape \(60,\)"),
}


@pytest.mark.parametrize("name", WRONG_TOGETHER)
def test_load_idx_names_the_file_that_does_not_fit(tmp_path: Path, name: str) -> None:
    stem, array, message = WRONG_TOGETHER[name]
    write_data_set(tmp_path)
    path = tmp_path / f"{stem}.gz"
    path.write_bytes(gzip.compress(idx_bytes(array)))
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: {message}"):
        load_idx(MNIST, tmp_path)


def test_load_idx_refuses_an_empty_set(tmp_path: Path) -> None:
    write_data_set(tmp_path, test=0)
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz: expected at least one image, got none"):
        load_idx(MNIST, tmp_path)

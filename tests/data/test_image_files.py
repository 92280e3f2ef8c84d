import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wwae.data import DataError, read_image

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "webp"])
def test_a_lossless_grey_picture_of_the_right_size_keeps_its_values(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"grey.{suffix}"
    Image.fromarray(GREY).save(path, **({"lossless": True} if suffix == "webp" else {}))
    image = read_image(path, channels=1, image_size=8)
    assert image.shape == (1, 8, 8) and image.dtype == torch.float32
    torch.testing.assert_close(image[0], torch.from_numpy(GREY).float() / 255)


def test_any_size_and_any_number_of_channels_is_brought_to_those_of_the_model(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (50, 30, 3), dtype=np.uint8)
    Image.fromarray(colour).save(tmp_path / "colour.jpg")
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    for name in ("colour.jpg", "grey.png"):
        for channels in (1, 3):
            image = read_image(tmp_path / name, channels, image_size=32)
            assert image.shape == (channels, 32, 32) and image.is_contiguous()
            assert image.min() >= 0 and image.max() <= 1


def test_sixteen_bit_grey_is_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 65535], [32768, 256]], dtype=np.uint16)).save(tmp_path / "deep.png")
    image = read_image(tmp_path / "deep.png", channels=1, image_size=2)
    torch.testing.assert_close(image[0] * 255, torch.tensor([[0.0, 255.0], [128.0, 1.0]]))


def test_transparent_parts_are_black(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 4), 255, dtype=np.uint8)
    pixels[:2, :, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "transparent.png")
    image = read_image(tmp_path / "transparent.png", channels=1, image_size=4)
    assert image[0, :2].max() == 0 and image[0, 2:].min() == 1


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    for content, message in (
        (b"some text", "not an image in a format that Pillow reads"),
        (b"", "not an image in a format that Pillow reads"),
        (whole[: len(whole) // 2], "cannot be read: .*truncated"),
    ):
        path = tmp_path / "wrong.png"
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"^{re.escape(str(path))}: {message}"):
            read_image(path, channels=1, image_size=8)
    with pytest.raises(DataError, match=r"missing\.png: cannot be read: No such file"):
        read_image(tmp_path / "missing.png", channels=1, image_size=8)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_image(tmp_path, channels=1, image_size=8)

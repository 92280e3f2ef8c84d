import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wwae.data import (
    CroppedPhotographs,
    DataError,
    alexnet_crop,
    centre_crop,
    find_pictures,
    load_photographs,
    vgg_crop,
)

COLOURS = {"apple": (255, 0, 0), "leaf": (0, 255, 0), "sky": (0, 0, 255)}


def write_folders(root: Path, train: int = 3, validation: int = 1) -> Path:
    """One plain colour a class, so that a picture tells its label; sides differ."""
    for part, count in (("train", train), ("val", validation)):
        for name, colour in COLOURS.items():
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (40 + number, 30), colour).save(root / part / name / f"{number}.png")
    return root


def as_shards(folders: Path, root: Path, one_a_class: bool) -> Path:
    for part in ("train", "val"):
        (root / part).mkdir(parents=True)
        for number, path in enumerate(sorted((folders / part).iterdir())):
            shard = root / part / (f"{path.name}.tar" if one_a_class else f"shard-{number % 2}.tar")
            with tarfile.open(shard, "a") as archive:
                for picture in sorted(path.iterdir()):
                    archive.add(picture, picture.name if one_a_class else f"{path.name}/{picture.name}")
    return root


@pytest.fixture(params=["folders", "shards", "a shard for each class"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folders = write_folders(tmp_path / "folders")
    if request.param == "folders":
        return folders
    return as_shards(folders, tmp_path / "shards", one_a_class=request.param != "shards")


def test_each_picture_has_the_label_of_its_class(root: Path) -> None:
    data = load_photographs(root)
    for part, count in ((data.train, 9), (data.validation, 3)):
        assert part.classes == ("apple", "leaf", "sky") and len(part) == count
        for position in range(count):
            picture, label = part[position]
            assert picture.mode == "RGB" and picture.height == 30
            assert picture.getpixel((3, 3)) == COLOURS[part.classes[label]] and label == part.labels[position]
    assert sorted(data.train[position][0].width for position in range(9)) == [40, 40, 40, 41, 41, 41, 42, 42, 42]


def test_random_crops_depend_on_their_seed_alone(root: Path) -> None:
    images = CroppedPhotographs(load_photographs(root).train, vgg_crop(16, (20, 28)), centre_crop(16, 20))
    assert len(images) == 9
    torch.manual_seed(1)
    before = torch.get_rng_state()
    batch = images.read(torch.tensor([8, 0, 4]), seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert batch.images.shape == (3, 3, 16, 16) and batch.images.dtype == torch.float32 and batch.labels.tolist() == [2, 0, 1]
    assert torch.equal(batch.images.mean((2, 3)).argmax(1), batch.labels)


def test_crops_to_measure_are_always_the_same(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "train" / "apple" / "0.png")
    images = CroppedPhotographs(load_photographs(root).train, vgg_crop(16, (20, 28)), centre_crop(16, 20))
    first = torch.tensor([0])
    assert torch.equal(images.read(first).images, images.read(first).images)
    torch.testing.assert_close(images.read(first).images[0], centre_crop(16, 20)(Image.fromarray(noise)))
    assert torch.equal(images.read(first, 3).images, images.read(first, 3).images)
    assert not torch.equal(images.read(first, 3).images, images.read(first, 4).images)


def gradient(tmp_path: Path) -> Image.Image:
    """Red tells the column, green the row, of a 200x100 picture."""
    columns, rows = np.meshgrid(np.arange(200), np.arange(100))
    Image.fromarray(np.stack([columns, rows, 0 * rows], 2).astype(np.uint8)).save(tmp_path / "gradient.png")
    return Image.open(tmp_path / "gradient.png")


def test_the_central_square_is_measured(tmp_path: Path) -> None:
    crop = centre_crop(size=80, shortest=100)(gradient(tmp_path))
    assert crop.shape == (3, 80, 80) and crop.dtype == torch.float32
    torch.testing.assert_close(crop[0, 0] * 255, torch.arange(60.0, 140.0))
    torch.testing.assert_close(crop[1, :, 0] * 255, torch.arange(10.0, 90.0))


def test_vgg_crops_have_every_scale_of_the_range_come_from_everywhere_and_half_are_mirrored(tmp_path: Path) -> None:
    picture, crop = gradient(tmp_path), vgg_crop(50, (60, 120))
    torch.manual_seed(0)
    crops = torch.stack([crop(picture) for _ in range(300)]) * 255
    steps = (crops[:, 1, 40, 25] - crops[:, 1, 10, 25]) / 30  # rows of the picture to a row of the crop: 100 / shortest
    assert 100 / 122 < steps.min() < 100 / 116 and 100 / 62 < steps.max() < 100 / 58
    mirrored = crops[:, 0, 25, 0] > crops[:, 0, 25, -1]
    assert 110 < int(mirrored.sum()) < 190
    left = crops[:, 0].amin((1, 2))
    assert left.min() < 8 and left.max() > 110


def test_alexnet_crops_keep_to_the_central_square(tmp_path: Path) -> None:
    picture, crop = gradient(tmp_path), alexnet_crop(40, 50)
    torch.manual_seed(0)
    crops = torch.stack([crop(picture) for _ in range(100)]) * 255
    assert crops.shape == (100, 3, 40, 40)
    assert 49 < crops[:, 0].min() < 55 and 145 < crops[:, 0].max() < 151  # columns 50 to 149 of 200
    torch.testing.assert_close((crops[:, 1, 30, 20] - crops[:, 1, 10, 20]) / 20, torch.full((100,), 2.0), atol=0.1, rtol=0)


@pytest.mark.parametrize("crop", [
    lambda: vgg_crop(224, (200, 300)), lambda: vgg_crop(224, (300, 256)), lambda: alexnet_crop(300), lambda: centre_crop(300),
])  # fmt: skip
def test_crops_larger_than_the_picture_are_refused(crop) -> None:
    with pytest.raises(ValueError, match="expected size <= "):
        crop()


def test_grey_and_transparent_pictures_are_rgb(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    Image.new("L", (20, 20), 128).save(root / "train" / "apple" / "0.png")
    Image.new("RGBA", (20, 20), (255, 255, 255, 0)).save(root / "train" / "apple" / "1.png")
    crop = centre_crop(8, 16)
    images = CroppedPhotographs(load_photographs(root).train, crop, crop).read(torch.tensor([0, 1])).images
    assert torch.allclose(images[0], torch.tensor(128 / 255)) and images[1].max() == 0


def test_bad_pictures_are_named(root: Path, tmp_path: Path) -> None:
    folders = tmp_path / "folders" / "train" / "leaf"
    (folders / "1.png").write_text("no picture")
    Image.new("RGB", (40, 5)).save(folders / "2.png")
    if root.name == "shards":
        root = as_shards(tmp_path / "folders", tmp_path / "again", one_a_class=False)
    train = load_photographs(root).train
    with pytest.raises(DataError, match=r"leaf/1\.png: not an image in a format that Pillow reads"):
        train[4]
    with pytest.raises(DataError, match=r"leaf/2\.png: too small: expected 8 pixels or more a side, got 40x5"):
        train[5]


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder: .*train, .*val"):
        load_photographs(tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match="train: expected a folder for each class or tar files, found neither"):
        load_photographs(tmp_path)
    (tmp_path / "train" / "leaf").mkdir()
    (tmp_path / "train" / "leaf" / "notes.txt").touch()
    with pytest.raises(DataError, match=r"train/leaf: the folder of a class is empty: expected pictures \(\.bmp, "):
        load_photographs(tmp_path)


def test_other_classes_in_validation_are_named(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    (root / "val" / "sky").rename(root / "val" / "sea")
    with pytest.raises(DataError, match=r"expected the 3 classes of .*train; not in both: sea, sky"):
        load_photographs(root)


@pytest.mark.parametrize(("content", "message"), [
    (b"no archive" * 100, "damaged or compressed tar file"),
    (b"\0" * 10240, "expected pictures .* found none"),
])  # fmt: skip
def test_bad_shards_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match=rf"train/a\.tar: {message}"):
        load_photographs(tmp_path)


def test_pictures_of_one_folder_are_found_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.JPEG", "a.png", "c.txt"):
        (tmp_path / name).touch()
    assert [location.path.name for location in find_pictures(tmp_path)] == ["a.png", "b.JPEG"]
    with pytest.raises(DataError, match="no such folder"):
        find_pictures(tmp_path / "missing")

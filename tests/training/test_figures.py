"""Pictures of a run."""

import pytest
import torch
from PIL import Image

from wwae.training.figures import draw_curves, reconstruction_gallery
from wwae.training.run_directory import METRICS_COLUMNS


def row(**columns):
    return {column: str(columns.get(column, "")) for column in METRICS_COLUMNS}


def test_curves_of_a_semi_supervised_run(tmp_path):
    path = tmp_path / "curves.png"
    rows = [
        row(round=r, network=network, epoch=epoch, nll_nats=1 / epoch, test_error_percent=50 / epoch)
        | ({"reconstruction_loss": "0.5", "middle_loss": "0.1"} if network == "swwae" else {})
        for r in (1, 2)
        for network in ("swwae", "convnet")
        for epoch in (1, 2, 3)
    ]
    draw_curves(rows, "mse", path)
    wide = Image.open(path).size
    draw_curves([each | {"test_error_percent": ""} for each in rows], "mse", path)
    # A column without a value has no panel.
    assert Image.open(path).size[0] < wide[0]
    assert Image.open(path).size[1] == wide[1]


def test_gallery_shows_the_pictures_it_is_given(tmp_path):
    path = tmp_path / "gallery.png"
    originals = torch.zeros(2, 3, 8, 8)
    originals[0, 0], originals[1, 1] = 1, 1
    blue = torch.zeros(2, 3, 8, 8)
    blue[:, 2] = 7.5
    reconstruction_gallery(originals, {"known": blue, "fixed": originals.flip(0)}, path)
    picture = Image.open(path).convert("RGB")
    pixels = {colour: count for count, colour in picture.getcolors(1 << 20)}
    red, green, blue = pixels[255, 0, 0], pixels[0, 255, 0], pixels[0, 0, 255]
    # Each colour fills two pictures of the same size, up to the rounding of their edges.
    assert red == pytest.approx(blue, rel=0.05)
    assert green == pytest.approx(blue, rel=0.05)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_gallery_of_grey_pictures(tmp_path, dtype):
    images = torch.ones(1, 1, 8, 4).mul(255 if dtype == torch.uint8 else 1).to(dtype)
    reconstruction_gallery(images, {"known": torch.zeros(1, 1, 8, 4)}, tmp_path / "gallery.png")
    width, height = Image.open(tmp_path / "gallery.png").size
    assert width > 50
    assert height > 50


@pytest.mark.parametrize(
    ("images", "known", "message"),
    [
        (torch.zeros(0, 1, 8, 8), torch.zeros(0, 1, 8, 8), r"expected images of shape \[N, 1 or 3, H, W\], got \[0, 1"),
        (torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8), r"got \[1, 2, 8, 8\]"),
        (torch.zeros(1, 8, 8), torch.zeros(1, 8, 8), r"got \[1, 8, 8\]"),
        (torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 9), r"expected known of shape \[1, 1, 8, 8\], got \[1, 1, 8, 9\]"),
    ],
)
def test_bad_pictures(tmp_path, images, known, message):
    with pytest.raises(ValueError, match=message):
        reconstruction_gallery(images, {"known": known}, tmp_path / "gallery.png")
    assert not list(tmp_path.iterdir())

"""Reconstructions with switches from several sources, their PSNR, and their picture."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from wwae.models import augment
from wwae.training import psnr, reconstruct_with_switches, switch_gallery

SOURCES = ["known", "fixed", "shuffled", "zeroed"]


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    model = augment(nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(5)), "all", example_input=torch.rand(1, 3, 9, 11))
    for parameter in model.decoders.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.train()


def test_psnr_is_that_of_the_mean_squared_error() -> None:
    images = torch.zeros(3, 1, 4, 4)
    reconstruction = torch.stack([torch.full((1, 4, 4), 0.1), torch.full((1, 4, 4), -3.0), torch.full((1, 4, 4), 2.0)])
    values = psnr(reconstruction, images)
    assert values.dtype == torch.float64
    assert values[0].item() == pytest.approx(20.0, abs=1e-5)
    assert values[1] == torch.inf  # clamped: the same
    assert values[2] == 0
    with pytest.raises(ValueError, match=r"psnr: expected a reconstruction of shape \[1, 1, 4, 4\], got \[3, 1, 4, 4\]"):
        psnr(reconstruction, images[:1])


def test_every_layer_and_source_is_the_models(model: nn.Module) -> None:
    images = torch.rand(3, 3, 9, 11)
    found = reconstruct_with_switches(model, images)
    assert model.training
    assert list(found) == ["pool1", "pool2"] and all(list(kinds) == SOURCES for kinds in found.values())
    with torch.no_grad():
        for layer, kinds in found.items():
            for source, each in kinds.items():
                torch.testing.assert_close(each, model.eval().reconstruct(images, layer, source))
    assert list(reconstruct_with_switches(model, images, ["pool2"], ["fixed"])["pool2"]) == ["fixed"]
    with pytest.raises(ValueError, match="expected from_layer to be one of pool1, pool2, got 'pool3'"):
        reconstruct_with_switches(model, images, ["pool3"])


def test_a_single_image_is_shuffled_with_its_mirror_image(model: nn.Module) -> None:
    image = torch.rand(1, 3, 9, 11)
    found = reconstruct_with_switches(model, image)["pool2"]
    both = torch.cat([image.flip(3), image])
    with torch.no_grad():
        torch.testing.assert_close(found["shuffled"], model.eval().reconstruct(both, "pool2", "shuffled")[1:])
    assert not torch.equal(found["shuffled"], found["known"]) and found["known"].shape == image.shape


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_has_a_row_for_each_source_and_a_column_for_each_layer(tmp_path: Path, channels: int) -> None:
    images = torch.full((2, channels, 24, 32), 0.5)
    reconstructions = {f"pool{n}": {source: torch.full_like(images, n / 4) for source in SOURCES} for n in (1, 2, 3)}
    switch_gallery(images, reconstructions, tmp_path / "gallery.png")
    pixels = np.asarray(Image.open(tmp_path / "gallery.png").convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    assert height > width
    # The columns of pool1 and pool3 have a picture in every row.
    for value in (64, 191):
        found = (np.abs(pixels - value).max(2) <= 1).sum(1) > width // 10
        assert int((np.diff(found.astype(int)) == 1).sum()) == 2 * len(SOURCES)
    grey = np.abs(pixels - 128).max(2) <= 1
    assert grey.any()


def test_wrong_shapes_are_refused(tmp_path: Path) -> None:
    images = torch.rand(2, 3, 8, 8)
    with pytest.raises(ValueError, match="expected pool1, known of shape"):
        switch_gallery(images, {"pool1": {"known": images[:1]}}, tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"expected images of shape \[N, 1 or 3, H, W\]"):
        switch_gallery(torch.rand(2, 4, 8, 8), {}, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())

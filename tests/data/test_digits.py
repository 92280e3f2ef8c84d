import pytest
import torch
from sklearn.datasets import load_digits as load_sklearn_digits

from wwae.data import load_digits
from wwae.training.configuration import ConfigurationError


def test_sizes_values_and_classes() -> None:
    data = load_digits()
    assert (data.name, data.classes) == ("digits", 10)
    assert data.train.images.shape == (1352, 1, 32, 32) and data.test.images.shape == (445, 1, 32, 32)
    assert data.train.images.dtype == torch.float32
    assert data.train.images.min() == 0 and data.train.images.max() == 1
    # 100 labels need ten of each class, and a test error that means something needs every class, too.
    assert data.train.labels.bincount().min() >= 100 and data.test.labels.bincount().min() >= 40


def test_every_fourth_image_of_each_digit_is_for_testing() -> None:
    published = load_sklearn_digits()
    data = load_digits(8)
    for digit in range(10):
        images = torch.from_numpy(published.images[published.target == digit]).float() / 16
        is_test = torch.arange(len(images)) % 4 == 3
        assert torch.equal(data.test.images[data.test.labels == digit, 0], images[is_test])
        assert torch.equal(data.train.images[data.train.labels == digit, 0], images[~is_test])


def test_at_8_pixels_nothing_is_resized() -> None:
    original = load_sklearn_digits().images
    # The first three images of each digit are for training, and the published order begins with 0 to 9.
    assert torch.equal(load_digits(8).train.images[:10, 0], torch.from_numpy(original[:10]).float() / 16)


def test_resizing_keeps_the_mean_grey() -> None:
    small, large = load_digits(8).train.images, load_digits(32).train.images
    torch.testing.assert_close(large.mean((1, 2, 3)), small.mean((1, 2, 3)), atol=1e-5, rtol=1e-5)


def test_an_image_size_below_8_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"data\.image_size: expected at least 8 for digits, got 7"):
        load_digits(7)

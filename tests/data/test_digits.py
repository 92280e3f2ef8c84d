import pytest
import torch
from sklearn.datasets import load_digits as load_sklearn_digits

from wwae.data import load_digits
from wwae.training.configuration import ConfigurationError


def test_sizes_values_and_classes() -> None:
    data = load_digits()
    assert (data.name, data.classes) == ("digits", 10)
    assert data.train.images.shape == (1297, 1, 32, 32) and data.test.images.shape == (500, 1, 32, 32)
    assert data.train.images.dtype == torch.float32
    assert data.train.images.min() == 0 and data.train.images.max() == 1
    # 100 labels need ten of each class, and a test error that means something needs every class, too.
    assert data.train.labels.bincount().min() >= 100 and data.test.labels.bincount().min() >= 40


def test_the_test_set_is_the_end_of_the_published_order() -> None:
    data, labels = load_digits(), torch.from_numpy(load_sklearn_digits().target)
    assert torch.equal(torch.cat([data.train.labels, data.test.labels]), labels)


def test_at_8_pixels_nothing_is_resized() -> None:
    original = torch.from_numpy(load_sklearn_digits().images).float() / 16
    assert torch.equal(load_digits(8).train.images[:, 0], original[:1297])


def test_resizing_keeps_the_mean_grey() -> None:
    small, large = load_digits(8).train.images, load_digits(32).train.images
    torch.testing.assert_close(large.mean((1, 2, 3)), small.mean((1, 2, 3)), atol=1e-5, rtol=1e-5)


def test_an_image_size_below_8_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"data\.image_size: expected at least 8 for digits, got 7"):
        load_digits(7)

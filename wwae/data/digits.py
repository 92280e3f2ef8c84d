"""scikit-learn's built-in handwritten digits: 1,797 images of 8×8 pixels with 17 grey levels, no download.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998 (its test part).
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits as load_sklearn_digits
from torch.nn import functional

from wwae.data.images import ImageData
from wwae.training.configuration import ConfigurationError
from wwae.training.dataset import Split

__all__ = ["TEST_IMAGES", "load_digits"]

# The images stand in the order in which they were collected, writer after writer. Cutting off the end gives a test set
# of writers that the training set hardly knows; taking every n-th image instead would pick some digits more often than
# others, because each writer wrote 0 to 9 in turn.
TEST_IMAGES = 500

_GREY_LEVELS = 16.0


def load_digits(image_size: int = 32) -> ImageData:
    """Read the digits, the first 1,297 as training set and the last 500 as test set, whatever the seed of a run.

    Args:
        image_size (int): height and width after bilinear resizing from 8×8; default 32, at least 8.

    Returns:
        ImageData: one channel, values in [0, 1], 10 classes.

    Raises:
        ConfigurationError: ``image_size`` is below 8.
    """
    if image_size < 8:
        raise ConfigurationError(f"data.image_size: expected at least 8 for digits, got {image_size}")
    bunch = load_sklearn_digits()
    small = torch.from_numpy(bunch.images).to(torch.float32).div_(_GREY_LEVELS).unsqueeze(1)
    images = functional.interpolate(small, size=(image_size, image_size), mode="bilinear", align_corners=False)
    labels = torch.from_numpy(bunch.target).to(torch.int64)
    return ImageData(
        name="digits",
        train=Split(images[:-TEST_IMAGES], labels[:-TEST_IMAGES]),
        test=Split(images[-TEST_IMAGES:], labels[-TEST_IMAGES:]),
        classes=10,
    )

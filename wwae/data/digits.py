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

__all__ = ["load_digits"]

# One image in four is for testing. The images stand writer after writer, 13 in all, and each wrote 0 to 9 in turn: the
# end of the list would test three or four handwritings, and every fourth image of the whole list some digits more than
# others. Every fourth image of each digit has neither fault.
_TEST_EVERY = 4

_GREY_LEVELS = 16.0


def load_digits(image_size: int = 32) -> ImageData:
    """Read the digits: of each digit every fourth image in the published order is for testing, 445 of the 1,797.

    The training and the test set are the same for every seed of a run.

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
    # The number of earlier images of the same digit: (1797, 10) counts, of which each image takes its own digit's.
    earlier = functional.one_hot(labels).cumsum(0).gather(1, labels.unsqueeze(1)).squeeze(1) - 1
    is_test = earlier % _TEST_EVERY == _TEST_EVERY - 1
    return ImageData(
        name="digits",
        train=Split(images[~is_test], labels[~is_test]),
        test=Split(images[is_test], labels[is_test]),
        classes=10,
    )

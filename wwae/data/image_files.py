"""Pictures of a user, brought to the form of a data set's images."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from wwae.data.images import DataError

__all__ = ["open_picture", "read_image"]

_MODES = {1: "L", 3: "RGB"}


def read_image(path: Path | str, channels: int, image_size: int) -> Tensor:
    """Read a picture in any format that Pillow knows.

    It is turned upright as its EXIF data say, transparent parts become black, and it is converted to grey or RGB and
    resized to a square, whatever its sides were.

    Args:
        path (Path | str): the file; of an animation the first frame is taken.
        channels (int): 1 (grey) or 3 (RGB).
        image_size (int): height and width of the result.

    Returns:
        Tensor[channels, image_size, image_size], float32: values in [0, 1].

    Raises:
        DataError: the file cannot be read or is no picture.
    """
    resized = open_picture(path, str(path), channels).resize((image_size, image_size), Image.Resampling.BILINEAR)
    values = torch.from_numpy(np.asarray(resized, dtype=np.float32) / 255)
    return values.reshape(image_size, image_size, channels).permute(2, 0, 1).contiguous()


def open_picture(source: Path | str | BinaryIO, name: str, channels: int) -> Image.Image:
    """Read a picture in its own size, upright, its transparent parts black, as grey (1 channel) or RGB (3).

    Args:
        source (Path | str | BinaryIO): a file, or its content.
        name (str): for messages.
        channels (int): 1 or 3.

    Raises:
        DataError: it cannot be read or is no picture.
    """
    try:
        with Image.open(source) as file:
            picture = ImageOps.exif_transpose(_to_8_bits(file))
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture)
            return picture.convert(_MODES[channels])
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: not an image in a format that Pillow reads") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{name}: too large an image: {error}") from error
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from error
    except (SyntaxError, ValueError, IndexError) as error:  # Pillow's readers raise these for damaged files
        raise DataError(f"{name}: damaged image: {error}") from error


def _to_8_bits(picture: Image.Image) -> Image.Image:
    """Scale 16-bit grey, which Pillow's own conversion would clip at 255."""
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture).astype(np.float64)
    return Image.fromarray((values * (255 / 65535)).round().clip(0, 255).astype(np.uint8))

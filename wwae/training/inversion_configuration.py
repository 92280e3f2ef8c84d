"""The settings of a run that inverts a pretrained classifier (Zhang et al. 2016, arXiv:1606.06582, section 4.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from wwae.training.configuration import Configuration, SettingsGroup
from wwae.training.staged_configuration import StageConfiguration, split_at_commas

__all__ = ["DecoderConfiguration", "InversionConfiguration", "InversionModelConfiguration", "PictureConfiguration"]


class PictureConfiguration(SettingsGroup):
    """The pictures that decoders learn from, and those they are measured on."""

    root: Path | None = Field(
        default=None, description="directory of pictures, or one that holds them in a folder 'images' (default: data/photographs)"
    )
    image_size: int = Field(default=96, ge=32, le=1024, description="height and width of the crops, in pixels")
    crops: Literal["vgg", "alexnet"] = Field(
        default="vgg",
        description="random crops to learn from: vgg: of the picture, its shorter side 8/7 to 16/7 of the crop; alexnet: of the "
        "square in its middle, 256/227 of the crop",
    )
    test_every: int = Field(
        default=5, ge=2, description="every so manieth picture, in the order of their names, is measured and not learnt from"
    )


class InversionModelConfiguration(SettingsGroup):
    """The classifier that is inverted."""

    network: str = Field(default="squeezenet1_1", min_length=1, description="a classifier of torchvision, or caffenet")
    weights: str = Field(
        default="IMAGENET1K_V1",
        min_length=1,
        description="a file (.pth, .safetensors, .caffemodel), or the name of torchvision's weights, which are looked for in "
        "torch.hub's cache",
    )
    convention: Literal["rgb", "torchvision", "caffe-vgg", "caffenet"] | None = Field(
        default=None,
        description="how the weights want their images (default: as torchvision's; of a .caffemodel, as VGG's authors'; of "
        "caffenet, as CaffeNet's)",
    )
    download: bool = Field(default=False, description="fetch weights of torchvision that are not on the disk")


Names = Annotated[tuple[str, ...], BeforeValidator(split_at_commas)]


class DecoderConfiguration(StageConfiguration):
    """Which decoders there are, and how they learn."""

    layers: Names = Field(
        default=(),
        description="layers to invert the network from, such as pool1,pool3 (default: all pooling layers, of AlexNet conv1 to fc8)",
    )
    chain: float = Field(
        default=0.25, gt=0.0, description="learning rate of the chains by that of the layer-wise stage that they start from"
    )


class InversionConfiguration(Configuration):
    """All settings of a run that trains decoders for a frozen classifier, with known and with fixed switches."""

    epochs: int = Field(default=30, ge=1, description="passes over the pictures in each stage")
    data: PictureConfiguration = PictureConfiguration()  # type: ignore[assignment]
    model: InversionModelConfiguration = InversionModelConfiguration()
    decoder: DecoderConfiguration = DecoderConfiguration()

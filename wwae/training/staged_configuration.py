"""The settings of a run that augments a classifier and trains it in stages (Zhang et al. 2016, arXiv:1606.06582, section 4.1)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from wwae.training.configuration import Configuration, SettingsGroup, SolverConfiguration

__all__ = [
    "AugmentedLossConfiguration",
    "AugmentedModelConfiguration",
    "ClassifierConfiguration",
    "JointConfiguration",
    "LayerwiseConfiguration",
    "StackedConfiguration",
    "StageConfiguration",
    "StagedConfiguration",
]


def split_at_commas(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Numbers = Annotated[tuple[Annotated[float, Field(ge=0.0)], ...], BeforeValidator(split_at_commas)]


class AugmentedModelConfiguration(SettingsGroup):
    """The classifier, and the decoder that is grown on it."""

    network: str = Field(
        default="(32)3c-(32)3c-2p-(64)3c-(64)3c-2p-(64)3c-(64)3c-2p-10fc",
        min_length=1,
        description="the classifier: the name of a torchvision network such as vgg16, or layers in the notation of Zhao et al. "
        "(2015): (MAPS)Kc convolution, Kp pooling, Nfc linear",
    )
    variant: Literal["first", "all", "layerwise"] = Field(
        default="all",
        description="what is reconstructed: first: the images; all: the input of every macro-layer; layerwise: the same, each from "
        "the encoder's own map",
    )
    switches: Literal["known", "fixed"] = Field(
        default="known",
        description="where the decoder puts a value: known: at the recorded switch (SWWAE); fixed: at one tap (SAE)",
    )
    from_layer: str = Field(default="last", min_length=1, description="macro-layer that decoding starts at, such as pool3, or last")
    weights: str | None = Field(
        default=None,
        description="trained weights of a torchvision network: a file (.pth, .safetensors, .caffemodel), or their name in "
        "torchvision's cache, such as IMAGENET1K_V1",
    )
    convention: Literal["rgb", "torchvision", "caffe-vgg", "caffenet"] | None = Field(
        default=None,
        description="the scale of the images that weights in a file were trained on (default: torchvision; of a .caffemodel, "
        "caffe-vgg; of caffenet, caffenet)",
    )
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0, description="probability of dropping an input of each linear layer")


class AugmentedLossConfiguration(SettingsGroup):
    """Equation 2: the classification loss plus ``reconstruction`` times the balanced reconstruction losses."""

    reconstruction: float = Field(
        default=1.0, ge=0.0, description="weight of the reconstruction losses (lambda) in the joint stage"
    )
    balance: Literal["caffe", "auto", "none"] = Field(
        default="auto",
        description="weights of the layers: caffe: Table A-1; auto: from the first batch, so that every layer's weighted loss is "
        "that of the images, whose weight is 1; none: 1 for all",
    )


class StageConfiguration(SolverConfiguration):
    """One stage: how long, how many images a step takes, and how the weights move. Biases take twice the rate and no decay."""

    name: Literal["adam", "sgd"] = Field(default="sgd", description="update rule")
    schedule: Literal["constant", "cosine", "linear"] = Field(
        default="constant", description="course of the learning rate over the stage; cosine and linear end at 0"
    )
    batch_size: int = Field(default=16, ge=1, description="images in a step")


class ClassifierConfiguration(StageConfiguration):
    """Stage 0: the classifier alone, from new weights, on the labelled images."""

    epochs: int = Field(default=10, ge=0, description="passes over the labelled images; 0 takes the network as it is")
    batch_size: int = Field(default=64, ge=1, description="images in a step")


class LayerwiseConfiguration(StageConfiguration):
    """Stage 2: the decoder of each macro-layer from the encoder's own maps; the encoder does not change."""

    epochs: int = Field(default=1, ge=1, description="passes over the images, with and without labels")
    rates: Numbers = Field(
        default=(),
        description="learning rate of each macro-layer's decoder, the nearest to the images first, in place of lr: 1e-3,1e-4,...",
    )
    processes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="1 trains all decoders in one pass; more: each in its own process, so many at a time; the result is the same",
    )


class StackedConfiguration(StageConfiguration):
    """Stage 3: the decoders in a chain; the encoder does not change. There is none with variant layerwise."""

    epochs: int = Field(default=1, ge=1, description="passes over the images, with and without labels")


class JointConfiguration(StageConfiguration):
    """Stage 4: everything at a reduced rate, for ``epochs`` of the run; the control trains the classifier alone as long."""

    batch_size: int = Field(default=64, ge=1, description="labelled images in a step")
    unlabelled_batch_size: int = Field(default=0, ge=0, description="images without labels in a step, which are only reconstructed")


class StagedConfiguration(Configuration):
    """All settings of a run that trains an augmented classifier in stages."""

    epochs: int = Field(default=10, ge=1, description="passes of the joint stage and of its control over the labelled images")
    model: AugmentedModelConfiguration = AugmentedModelConfiguration()
    loss: AugmentedLossConfiguration = AugmentedLossConfiguration()
    classifier: ClassifierConfiguration = ClassifierConfiguration()
    layerwise: LayerwiseConfiguration = LayerwiseConfiguration()
    stacked: StackedConfiguration = StackedConfiguration()
    joint: JointConfiguration = JointConfiguration()

    @model_validator(mode="after")
    def _check_images(self) -> StagedConfiguration:
        if self.joint.unlabelled_batch_size and self.data.labels == "all":
            raise ValueError("joint.unlabelled_batch_size: expected 0 with data.labels 'all', which leaves no unlabelled images")
        return self

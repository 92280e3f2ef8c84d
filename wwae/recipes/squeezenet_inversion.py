"""``squeezenet-inversion``: what the pools of a trained SqueezeNet keep of a photograph, and what only their switches know.

Zhang, Lee, Lee: Augmenting Supervised Neural Networks with Unsupervised Objectives for Large-scale Image Classification (2016,
arXiv:1606.06582), section 4.2 and figure 5, with a network and a set of photographs that a processor core can do. The claim:
decoders with known switches recover what those with fixed ones blur.

    weights       SqueezeNet 1.1 trained on ImageNet, from torchvision or a file: ``--model.weights FILE.safetensors``
    pictures      ``--data.root DIR``, every fifth held out to be measured
    crops         96x96, the shorter side between 110 and 220 pixels, half of them mirrored
    stages        layer-wise, then a chain from each of pool1, pool2 and pool3, for known and for fixed switches: eight
    step          4 crops; 80 photographs and 30 epochs are 600 steps for each stage
    loss          the squared error of eq. 2, unweighted: the decoders share no weights
    rates         the chains take a quarter of the layer-wise rate: at the full one those with fixed switches end at a plain grey
    result        from pool1 24.5 dB with known switches, 23.3 dB with fixed ones; from pool3 18.8 and 15.2 dB
    time          12 minutes on one processor core that others use, too
"""

from __future__ import annotations

from wwae.recipes.recipe import Recipe
from wwae.training import InversionConfiguration
from wwae.training.configuration import RunConfiguration
from wwae.training.inversion_configuration import DecoderConfiguration

__all__ = ["RECIPE", "squeezenet_inversion"]


def squeezenet_inversion() -> InversionConfiguration:
    """The settings for a hundred photographs."""
    return InversionConfiguration(
        recipe="squeezenet-inversion",
        epochs=30,
        decoder=DecoderConfiguration(name="adam", lr=4e-3, schedule="cosine", batch_size=4),
        run=RunConfiguration(log_every=20, evaluate_every=10, checkpoint_every=200),
    )


RECIPE = Recipe(
    name="squeezenet-inversion",
    summary="photographs from the pooling layers of a trained SqueezeNet, with known and with fixed switches",
    aim="Zhang et al. 2016, figure 5: pictures without numbers",
    configuration=squeezenet_inversion,
)

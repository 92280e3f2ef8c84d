"""``alexnet-inversion``: what every layer of a trained AlexNet keeps of a photograph, and what only its switches know.

Zhang, Lee, Lee: Augmenting Supervised Neural Networks with Unsupervised Objectives for Large-scale Image Classification (2016,
arXiv:1606.06582), section 4.2 and figures 4 and A-4. The claim: with known switches photographs come back from every layer, even
from the scores of the classes, and with fixed ones less and less of them, the higher the layer.

    weights       torchvision's AlexNet trained on ImageNet, by its name (``--model.download``) or from a file; or the paper's
                  network, ``--model.network caffenet --data.image_size 227 --model.weights FILE``
    pictures      ``--data.root DIR``, every fifth held out to be measured
    crops         224x224 of the central square, which is resized to 253x253, half of them mirrored: the paper's for 227 of 256
    stages        layer-wise, then a chain from each of conv1 to fc8, for known and for fixed switches: eighteen;
                  ``--decoder.layers conv1,fc8`` trains the chains of these alone
    step          4 crops; the paper's 16 are for the whole of ImageNet
    loss          the squared error of eq. 2, unweighted: the decoders share no weights
    rates         of squeezenet-inversion, since the paper prints none; lower ones for the weights of inner products. If chains with
                  fixed switches end at a plain grey, try a lower --decoder.chain
    result        not measured with trained weights
    time          on one processor core that others use, too, 2 to 3 crops a second layer-wise and up to fc8, 4 to 9 up to conv5
"""

from __future__ import annotations

from wwae.recipes.recipe import Recipe
from wwae.training import InversionConfiguration, PictureConfiguration
from wwae.training.configuration import RunConfiguration
from wwae.training.inversion_configuration import DecoderConfiguration, InversionModelConfiguration

__all__ = ["RECIPE", "alexnet_inversion"]


def alexnet_inversion() -> InversionConfiguration:
    """The settings for a hundred photographs."""
    return InversionConfiguration(
        recipe="alexnet-inversion",
        epochs=30,
        data=PictureConfiguration(image_size=224, crops="alexnet"),
        model=InversionModelConfiguration(network="alexnet"),
        decoder=DecoderConfiguration(name="adam", lr=4e-3, schedule="cosine", batch_size=4),
        run=RunConfiguration(log_every=20, evaluate_every=10, checkpoint_every=200),
    )


RECIPE = Recipe(
    name="alexnet-inversion",
    summary="photographs from every layer of a trained AlexNet, conv1 to fc8, with known and with fixed switches",
    aim="Zhang et al. 2016, figures 4 and A-4: pictures without numbers",
    configuration=alexnet_inversion,
)

"""A plain convolutional classifier from its notation, in the form of VGG."""

from __future__ import annotations

from torch import nn

from wwae.models.architecture import Convolution, FullyConnected, Pooling, parse_architecture
from wwae.reference.window import Pair

__all__ = ["convnet"]


def convnet(architecture: str, in_channels: int, image_size: Pair, dropout: float = 0.0) -> nn.Sequential:
    """Build a classifier: convolutions with "same" padding and a ReLU each, max pools, then inner products.

    Its modules are ``features``, a Sequential of the convolutions and pools, ``flatten``, and ``classifier``, a Sequential of the
    inner products. Convolution weights start Gaussian with the variance of He et al. (2015, arXiv:1502.01852), as for
    torchvision's VGG.

    Args:
        architecture (str): in the notation of :func:`wwae.models.parse_architecture`; the last layer has one unit for each class.
        in_channels (int): channels of the images.
        image_size (pair): height and width of the images.
        dropout (float): probability of dropping an input of each inner product; default 0.

    Returns:
        nn.Sequential: images (N, in_channels, H, W) to scores (N, classes).

    Raises:
        ValueError: the notation is wrong, has no convolution or no inner product, or pools a map that is smaller than the window.

    Example:
        >>> convnet("(8)3c-2p-10fc", 1, (28, 28))(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    layers = parse_architecture(architecture)
    features: list[nn.Module] = []
    products: list[nn.Module] = []
    channels, (height, width) = in_channels, image_size
    units = 0
    for layer in layers:
        if isinstance(layer, Convolution):
            features += [nn.Conv2d(channels, layer.maps, layer.kernel_size, padding="same"), nn.ReLU()]
            channels = layer.maps
        elif isinstance(layer, Pooling):
            if layer.kernel_size > min(height, width):
                raise ValueError(
                    f"convnet: {layer} pools {layer.kernel_size}x{layer.kernel_size} windows, but its map is only {height}x{width}"
                )
            features.append(nn.MaxPool2d(layer.kernel_size))
            height, width = height // layer.kernel_size, width // layer.kernel_size
        else:
            products += [nn.ReLU()] if units else []
            products += [nn.Dropout(dropout), nn.Linear(units or channels * height * width, layer.units)]
            units = layer.units
    if not isinstance(layers[0], Convolution) or not isinstance(layers[-1], FullyConnected):
        raise ValueError(
            f"convnet: expected a convolution first and an inner product last, such as (8)3c-2p-10fc, got {architecture!r}"
        )
    network = nn.Sequential()
    network.add_module("features", nn.Sequential(*features))
    network.add_module("flatten", nn.Flatten())
    network.add_module("classifier", nn.Sequential(*products))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network

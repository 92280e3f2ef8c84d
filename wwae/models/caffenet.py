"""The AlexNet of Zhang et al. (2016, arXiv:1606.06582): Krizhevsky et al. (2012) in the form of Caffe's model zoo."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["CaffeNet"]


class CaffeNet(nn.Module):
    """AlexNet in two groups for images of 227x227, whose layers and state dict have Caffe's names, ``conv1`` to ``fc8``.

    The second, fourth and fifth convolution work in two groups, pooling is 3x3 with stride 2, and there is no local response
    normalisation, which the authors' configuration leaves out.

    Args:
        num_classes (int): default 1000.
        dropout (float): probability before ``fc7`` and ``fc8``; default 0.5.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()

        def pool() -> nn.MaxPool2d:
            return nn.MaxPool2d(3, stride=2)

        layers = {
            "conv1": nn.Conv2d(3, 96, 11, stride=4), "relu1": nn.ReLU(), "pool1": pool(),
            "conv2": nn.Conv2d(96, 256, 5, padding=2, groups=2), "relu2": nn.ReLU(), "pool2": pool(),
            "conv3": nn.Conv2d(256, 384, 3, padding=1), "relu3": nn.ReLU(),
            "conv4": nn.Conv2d(384, 384, 3, padding=1, groups=2), "relu4": nn.ReLU(),
            "conv5": nn.Conv2d(384, 256, 3, padding=1, groups=2), "relu5": nn.ReLU(), "pool5": pool(),
            "flatten": nn.Flatten(),
            "fc6": nn.Linear(256 * 6 * 6, 4096), "relu6": nn.ReLU(), "drop6": nn.Dropout(dropout),
            "fc7": nn.Linear(4096, 4096), "relu7": nn.ReLU(), "drop7": nn.Dropout(dropout),
            "fc8": nn.Linear(4096, num_classes),
        }  # fmt: skip
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (N, 3, 227, 227) to scores (N, num_classes)."""
        for layer in self.children():
            x = layer(x)
        return x

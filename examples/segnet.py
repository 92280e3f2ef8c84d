"""A SegNet-style encoder-decoder before and after ``wwae.replace_pooling``: same numbers, smaller indices, no ``output_size``.

Badrinarayanan, Kendall and Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation", 2015,
arXiv:1511.00561. Run it with ``python examples/segnet.py``; it takes seconds on a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import wwae


def block(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution, batch normalisation and ReLU."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU())


class SegNet(nn.Module):
    """Encoder and decoder of the same stages; the decoder puts values back where the encoder's maxima stood.

    Args:
        classes (int): scores a pixel.
        widths (tuple[int, ...]): channels of each stage.
    """

    def __init__(self, classes: int = 8, widths: tuple[int, ...] = (32, 64, 128, 128)) -> None:
        super().__init__()
        inputs = (3, *widths[:-1])
        outputs = (classes, *widths[:-1])
        self.encoder = nn.ModuleList(block(a, b) for a, b in zip(inputs, widths, strict=True))
        self.pools = nn.ModuleList(nn.MaxPool2d(2, return_indices=True) for _ in widths)
        self.unpools = nn.ModuleList(nn.MaxUnpool2d(2) for _ in widths)
        self.decoder = nn.ModuleList(block(b, a) for a, b in zip(outputs[1:], widths[1:], strict=True))
        self.classifier = nn.Conv2d(widths[0], classes, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        where, sizes, x = [], [], image
        for encode, pool in zip(self.encoder, self.pools, strict=True):
            x = encode(x)
            sizes.append(x.size())
            x, indices = pool(x)
            where.append(indices)
        for stage in reversed(range(len(where))):
            x = self.unpools[stage](x, where[stage], output_size=sizes[stage])
            x = self.decoder[stage - 1](x) if stage else self.classifier(x)
        return x


def bytes_of_indices(model: SegNet, image: Tensor) -> list[int]:
    """Bytes of what each pool hands to its unpool, measured in a run."""
    measured: list[int] = []
    hooks = [pool.register_forward_hook(lambda _module, _inputs, output: measured.append(output[1].nbytes)) for pool in model.pools]
    model(image)
    for hook in hooks:
        hook.remove()
    return measured


def gradients(model: SegNet, image: Tensor) -> list[Tensor]:
    """Gradients of the mean square of the scores."""
    return list(torch.autograd.grad(model(image).square().mean(), list(model.parameters())))


def main() -> None:
    torch.manual_seed(0)
    model = SegNet()
    image = torch.randn(2, 3, 90, 120)  # sizes that four poolings don't divide
    swapped, report = wwae.replace_pooling(model)
    print(report, "\n")

    print("scores equal, bit for bit:   ", torch.equal(model(image), swapped(image)))
    pairs = zip(gradients(model, image), gradients(swapped, image), strict=True)
    print("gradients equal, bit for bit:", all(torch.equal(a, b) for a, b in pairs))
    before, after = bytes_of_indices(model, image), bytes_of_indices(swapped, image)
    print(
        f"bytes of indices:             {sum(before):,} before, {sum(after):,} after: {sum(before) / sum(after):.0f} times smaller"
    )

    values, switches = swapped.pools[0](torch.randn(1, 32, 45, 61))
    print("unpooled without output_size:", tuple(swapped.unpools[0](values, switches).shape))


if __name__ == "__main__":
    main()

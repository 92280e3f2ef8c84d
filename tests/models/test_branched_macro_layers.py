"""Decoders of branched macro-layers: the transpose of the graph they mirror."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.googlenet import Inception
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.squeezenet import Fire

from wwae.models import augment


def without_nonlinearities(module):
    """The same graph of convolutions, with every step between them left out."""
    for name, child in module.named_children():
        if isinstance(child, (nn.ReLU, nn.BatchNorm2d, nn.MaxPool2d)):
            setattr(module, name, nn.Identity())
        else:
            without_nonlinearities(child)
    return module


class Convolution(nn.Module):
    """In place of torchvision's convolution, batch normalisation and ReLU, the last of which is a function."""

    def __init__(self, in_channels, out_channels, **settings):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **settings)

    def forward(self, x):
        return self.conv(x)


def downsample(in_channels, out_channels):
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False), nn.BatchNorm2d(out_channels))


BLOCKS = {
    "Fire": lambda: Fire(6, 2, 3, 4),
    "Inception": lambda: Inception(6, 2, 3, 4, 2, 3, 2, conv_block=Convolution),
    "two Inceptions": lambda: nn.Sequential(*(Inception(6, 1, 3, 2, 2, 1, 2, conv_block=Convolution) for _ in range(2))),
    "residual": lambda: BasicBlock(6, 6),
    "residual, stride 2": lambda: nn.Sequential(BasicBlock(6, 8, 2, downsample(6, 8)), BasicBlock(8, 8)),
    "bottleneck, stride 2": lambda: nn.Sequential(Bottleneck(6, 2, 2, downsample(6, 8)), Bottleneck(8, 2)),
}


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_a_linear_block_is_mirrored_by_its_transpose(block, size):
    """With the encoder's own weights, and pooling that puts each gradient where the maximum stood."""
    torch.manual_seed(0)
    middle = without_nonlinearities(BLOCKS[block]())
    classifier = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), middle, nn.MaxPool2d(2), nn.Flatten()).double()
    model = augment(classifier, "layerwise")
    encoders = {name.replace(".", "_"): module for name, module in classifier.named_modules() if isinstance(module, nn.Conv2d)}
    with torch.no_grad():
        for convolution in encoders.values():
            if convolution.bias is not None:
                convolution.bias.zero_()
        for decoder in model.decoders:
            for name, deconvolution in decoder.deconvolutions.items():
                deconvolution.weight.copy_(encoders.pop(name).weight)
    assert not encoders, "a convolution has no mirror"

    x = torch.rand(2, 2, *size, dtype=torch.float64)
    # A block of stride 2 begins a macro-layer.
    macro_layers = [classifier[:1], classifier[1:3]] if "stride" in block else [classifier[:3]]
    output = model(x)
    assert len(output.targets) == len(macro_layers)
    for macro_layer, reconstruction in zip(macro_layers, output.reconstructions, strict=True):
        x = x.detach().requires_grad_()
        top = macro_layer(x)
        (expected,) = torch.autograd.grad(top, x, top)
        torch.testing.assert_close(reconstruction, expected)
        x = top


def test_the_mirror_of_a_residual_block_has_its_nonlinearities():
    """u^ = relu(conv1'(relu(conv2'(v^))) + v^), where v = relu(conv2(relu(conv1(u))) + u)."""
    block = BasicBlock(3, 3).eval()
    model = augment(nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.MaxPool2d(2), block, nn.AdaptiveAvgPool2d(1)), "layerwise")
    with torch.no_grad():
        for parameter in model.decoders.parameters():
            parameter.normal_()
    x = torch.rand(1, 1, 8, 8)
    second, first = model.decoders[1].deconvolutions.values()
    v = model.classifier[:4](x)
    hidden = F.relu(F.conv_transpose2d(v, second.weight, second.bias, padding=1))
    expected = F.relu(F.conv_transpose2d(hidden, first.weight, first.bias, padding=1) + v)
    torch.testing.assert_close(model(x).reconstructions[1], expected)


class ShortcutFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.shortcut, self.conv, self.relu = nn.Identity(), nn.Conv2d(2, 2, 1), nn.ReLU()

    def forward(self, x):
        shortcut = self.shortcut(x)
        return self.relu(self.conv(x) + shortcut)


def test_a_sum_of_branches_is_rectified_whichever_comes_first():
    """u^ = relu(conv'(v^) + v^), of which the second is positive already and the first is not."""
    model = augment(
        nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.MaxPool2d(2), ShortcutFirst(), nn.AdaptiveAvgPool2d(1)), "layerwise"
    )
    (deconvolution,) = model.decoders[1].deconvolutions.values()
    nn.init.constant_(deconvolution.weight, -1)
    x = torch.rand(1, 1, 4, 4)
    v = model.classifier[:4](x)
    expected = F.relu(v - v.sum(1, keepdim=True))
    torch.testing.assert_close(model(x).reconstructions[1], expected)


def test_the_mirror_of_fire_splits_its_maps():
    model = augment(nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), Fire(3, 2, 4, 5), nn.MaxPool2d(2), nn.Flatten()))
    with torch.no_grad():
        for parameter in model.decoders.parameters():
            parameter.normal_()
    x = torch.rand(1, 1, 8, 8)
    layers = dict(model.decoders[0].deconvolutions)
    assert list(layers) == ["2_expand3x3", "2_expand1x1", "2_squeeze", "0"]
    values, where = F.max_pool2d(model.classifier[:3](x), 2, return_indices=True)
    one, three = F.max_unpool2d(values, where, 2).split([4, 5], 1)
    squeezed = F.conv_transpose2d(one, layers["2_expand1x1"].weight, layers["2_expand1x1"].bias)
    squeezed = squeezed + F.conv_transpose2d(three, layers["2_expand3x3"].weight, layers["2_expand3x3"].bias, padding=1)
    hidden = F.relu(F.conv_transpose2d(F.relu(squeezed), layers["2_squeeze"].weight, layers["2_squeeze"].bias))
    expected = F.conv_transpose2d(hidden, layers["0"].weight, layers["0"].bias)
    torch.testing.assert_close(model(x).reconstructions[0], expected)

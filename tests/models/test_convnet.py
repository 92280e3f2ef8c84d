"""The plain classifier from its notation."""

import pytest
import torch
from torch import nn

from wwae.models import augment
from wwae.models.convnet import convnet


def test_layers_are_those_of_the_notation():
    network = convnet("(6)3c-(8)4c-2p-(4)5c-3p-7fc-5fc", 3, (14, 12), dropout=0.25)
    kinds = [type(module).__name__ for module in network.features]
    assert kinds == ["Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "MaxPool2d"]
    assert [module.kernel_size for module in network.features if isinstance(module, nn.MaxPool2d)] == [2, 3]
    assert [type(module).__name__ for module in network.classifier] == ["Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    # 14×12 pooled by 2 and 3 is 2×2.
    assert network.classifier[1].in_features == 4 * 2 * 2
    assert network.classifier[0].p == 0.25
    assert network(torch.rand(2, 3, 14, 12)).shape == (2, 5)


def test_convolutions_keep_the_variance_of_their_maps():
    torch.manual_seed(0)
    network = convnet("(64)3c-(64)3c-(64)3c-2p-10fc", 64, (16, 16))
    first = network.features[0]
    assert first.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.03)
    assert not first.bias.any()
    x = torch.randn(4, 64, 16, 16)
    after = network.features[:5](x)
    assert 0.3 < after.var().item() / first(x).var().item() < 3


@pytest.mark.parametrize("variant", ["first", "all", "layerwise"])
@pytest.mark.parametrize("switches", ["known", "fixed"])
def test_it_can_be_augmented_at_sizes_that_pools_do_not_divide(variant, switches):
    model = augment(convnet("(4)3c-2p-(6)2c-(6)3c-2p-3fc", 1, (13, 11)), variant, switches)
    output = model(torch.rand(2, 1, 13, 11))
    assert output.reconstructions[0].shape == (2, 1, 13, 11)
    assert [layer.name for layer in model.macro_layers] == ["pool1", "pool2"]


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("(4)3c-2p", r"expected a convolution first and an inner product last, such as \(8\)3c-2p-10fc, got '\(4\)3c-2p'"),
        ("2p-3fc", "expected a convolution first"),
        ("(4)3c-9p-3fc", "convnet: 9p pools 9x9 windows, but its map is only 8x8"),
        ("(4)3c-2q-3fc", "parse_architecture"),
    ],
)
def test_what_is_no_classifier_is_refused(architecture, message):
    with pytest.raises(ValueError, match=message):
        convnet(architecture, 1, (8, 8))

"""The named builders of augmented VGG networks."""

import itertools
import sys

import pytest
import torch
import torchvision

import wwae.models
from wwae.models.vgg import AUGMENTED_VGGS
from wwae.training import ReconstructionLoss

NAMES = [
    f"vgg{depth}{norm}_{family}_{variant}"
    for depth, norm, family, variant in itertools.product(
        (11, 13, 16, 19), ("", "_bn"), ("sae", "swwae"), ("first", "all", "layerwise")
    )
]


def test_every_name_is_there():
    assert list(AUGMENTED_VGGS) == NAMES
    for name in NAMES:
        assert getattr(wwae.models, name).__name__ == name
        assert name in wwae.models.__all__


@pytest.fixture
def without_storage(monkeypatch):
    """VGG's weights take half a gigabyte, and their values are not tested here."""
    build = torchvision.models.get_model

    def without_values(name, **arguments):
        with torch.device("meta"):
            return build(name, **arguments)

    monkeypatch.setattr(torchvision.models, "get_model", without_values)


CONVOLUTIONS = {"vgg11": 8, "vgg13": 10, "vgg16": 13, "vgg19": 16}


@pytest.mark.parametrize("name", NAMES)
def test_each_is_the_network_it_is_named_after(name, without_storage):
    model = getattr(wwae.models, name)(num_classes=10)
    network, family, variant = name.rsplit("_", 2)
    assert model.variant == variant and model.switches == {"sae": "fixed", "swwae": "known"}[family]
    assert [layer.name for layer in model.macro_layers] == ["pool1", "pool2", "pool3", "pool4", "pool5"]
    assert sum(len(decoder.deconvolutions) for decoder in model.decoders) == CONVOLUTIONS[network.removesuffix("_bn")]
    assert model.classifier.classifier[-1].out_features == 10
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules()) == network.endswith("_bn")


def test_the_third_macro_layer_of_vgg16_is_that_of_figure_1(without_storage):
    model = wwae.models.vgg16_swwae_all(from_layer="pool3")
    assert len(model.decoders) == 3
    widths = [(each.in_channels, each.out_channels, each.kernel_size) for each in model.decoders[2].deconvolutions.values()]
    assert widths == [(256, 256, (3, 3)), (256, 256, (3, 3)), (256, 128, (3, 3))]


def test_a_builder_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ImportError, match="vgg16_sae_first takes its network from torchvision: pip install torchvision"):
        wwae.models.vgg16_sae_first()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("vgg16_") and "_bn" not in name])
def test_a_joint_step_of_the_paper_s_six(name):
    model = getattr(wwae.models, name)(num_classes=10, init_weights=False)
    loss = ReconstructionLoss("caffe")
    output = model(torch.rand(2, 3, 224, 224))
    objective = torch.nn.functional.cross_entropy(output.logits, torch.tensor([3, 7])) + loss(output)
    objective.backward()
    assert torch.isfinite(objective)
    assert len(output.reconstructions) == (1 if name.endswith("first") else 5)
    assert all(parameter.grad is not None for parameter in model.parameters())

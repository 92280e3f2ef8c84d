"""The classifiers of torchvision, augmented: logits bit for bit, and maps of the sizes of their targets."""

import pytest
import torch
import torchvision
from torch import nn

from wwae.models import augment

# The channels of each target.
NETWORKS = {
    "alexnet": [3, 64, 192],
    "squeezenet1_0": [3, 96, 256, 512],
    "squeezenet1_1": [3, 64, 128, 256],
    "vgg11": [3, 64, 128, 256, 512],
    "vgg13_bn": [3, 64, 128, 256, 512],
    "resnet18": [3, 64, 64, 128, 256],
    "googlenet": [3, 64, 192, 480, 832],
}


def make(name, **arguments):
    torch.manual_seed(0)
    if name == "googlenet":
        arguments |= {"init_weights": False}
    if name.startswith("vgg"):
        arguments |= {"init_weights": False}
    return torchvision.models.get_model(name, weights=None, num_classes=10, **arguments)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_equal_and_every_map_is_mirrored(name):
    classifier = make(name).eval()
    keys = list(classifier.state_dict())
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = classifier(x)
        model = augment(classifier, "all")
        for model.switches in ("known", "fixed"):
            for model.variant in ("all", "layerwise"):
                output = model(x)
                assert torch.equal(output.logits, expected)
                assert [target.shape[1] for target in output.targets] == NETWORKS[name]
                assert [each.shape for each in output.reconstructions] == [each.shape for each in output.targets]
        assert torch.equal(classifier(x), expected)
    assert [key for key in model.state_dict() if key.startswith("classifier.")] == [f"classifier.{key}" for key in keys]
    convolutions = sum(isinstance(module, nn.Conv2d) for module in classifier.modules())
    mirrored = sum(len(decoder.deconvolutions) for decoder in model.decoders)
    # What stays in the classifier: SqueezeNet's scores, and GoogLeNet's two auxiliary branches.
    assert convolutions - mirrored == {"squeezenet1_0": 1, "squeezenet1_1": 1, "googlenet": 2}.get(name, 0)


def test_every_stage_of_a_residual_network_has_a_name():
    model = augment(make("resnet18"), "layerwise", from_layer="layer2")
    assert [layer.name for layer in model.macro_layers] == ["pool1", "stage2", "stage3"]
    assert "maxpool" in model.macro_layers[0].names


def test_a_joint_step_of_a_small_googlenet_in_training_mode():
    """In training mode it returns the scores of its auxiliary branches too, which go through."""
    model = augment(make("googlenet").train(), "first", from_layer="pool2")
    output = model(torch.rand(2, 3, 64, 64))
    assert set(output.logits._fields) == {"logits", "aux_logits2", "aux_logits1"}
    (output.logits.logits.sum() + output.reconstructions[0].sum()).backward()
    assert all(parameter.grad is not None for parameter in model.decoders.parameters())


def test_an_input_transform_before_the_first_convolution_is_passed_over():
    classifier = make("googlenet", transform_input=True, aux_logits=False).eval()
    output = augment(classifier, from_layer="pool1")(torch.rand(1, 3, 32, 32))
    assert output.reconstructions[0].shape == (1, 3, 32, 32)


@pytest.mark.parametrize(("name", "place", "below"), [
    ("densenet121", "features.transition1.pool", "pool1, stage2"),
    ("efficientnet_b0", "features.1.0.block.1.avgpool", "stage1"),
])  # fmt: skip
def test_networks_with_operations_that_have_no_mirror_are_refused(name, place, below):
    with pytest.raises(ValueError, match=rf"augment: {place} has no mirror: .*name a from_layer below it \({below}\)"):
        augment(make(name))

"""replace_pooling on the classifiers of torchvision: without fusion the same logits, bit for bit."""

import pytest
import torch
import torchvision
from torch import nn

import wwae
from wwae.nn import MaxPool2d

MODELS = {
    "alexnet": 3,
    "densenet121": 1,
    "googlenet": 13,
    "resnet18": 1,
    "squeezenet1_1": 3,
    "vgg16": 5,
    "vgg16_bn": 5,
}


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_the_same(name):
    torch.manual_seed(0)
    with torch.no_grad():
        arguments = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
        before = torchvision.models.get_model(name, weights=None, **arguments).eval()
        after, report = wwae.replace_pooling(before, fuse=False)
        assert [type(module) for module in after.modules() if isinstance(module, nn.MaxPool2d)] == [MaxPool2d] * MODELS[name]
        assert len(report.entries) == MODELS[name]
        assert all(entry.after == "wwae.nn.MaxPool2d" for entry in report.entries)
        assert after.state_dict().keys() == before.state_dict().keys()
        for memory_format in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(2, 3, 64, 64).to(memory_format=memory_format)
            logits = after(x)
            assert logits.shape == (2, 1000)
            assert torch.equal(logits, before(x))


def test_feature_slices_are_swapped():
    features = torchvision.models.vgg16(init_weights=False).features[:17].eval()
    after, report = wwae.replace_pooling(features)
    assert [entry.name for entry in report.entries] == ["4", "9", "16"]
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(after(x), features(x))


def test_pooling_functions_are_reported():
    model = torchvision.models.inception_v3(init_weights=False)
    _, report = wwae.replace_pooling(model)
    functions = [entry for entry in report.entries if entry.before == "torch.nn.functional.max_pool2d"]
    assert [entry.name for entry in functions] == ["Mixed_6a", "Mixed_7a"]
    assert all(entry.after == entry.before for entry in functions)

"""Weights from files and from the cache of torch.hub; every convention takes RGB in [0, 1]."""

import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torchvision
from caffe_files import Layer, caffe_bytes
from torch import nn

from wwae.models import augment
from wwae.models.pretrained import CONVENTIONS, WeightsError, pretrained_classifier


def shapes_of(name: str) -> dict[str, torch.Tensor]:
    """A state dict of the right shapes that takes no memory: each tensor is one number, repeated."""
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    return {key: torch.full((1,), 0.01).expand(value.shape) for key, value in network.state_dict().items()}


@pytest.fixture
def squeezenet(tmp_path: Path) -> tuple[torch.nn.Module, Path]:
    torch.manual_seed(0)
    network = torchvision.models.squeezenet1_1().eval()
    torch.save(network.state_dict(), tmp_path / "squeezenet.pth")
    return network, tmp_path / "squeezenet.pth"


def test_torchvisions_convention_is_inside(squeezenet) -> None:
    network, path = squeezenet
    x = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(each).reshape(3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    classifier = pretrained_classifier("squeezenet1_1", path)
    assert not classifier.training
    with torch.no_grad():
        assert torch.equal(classifier(x), network((x - mean) / std))
        assert torch.equal(pretrained_classifier("squeezenet1_1", path, "rgb")(x), network(x))


@pytest.mark.parametrize("name", ["caffe-vgg", "caffenet"])
def test_caffes_weights_see_bgr_from_0_to_255_minus_the_mean(squeezenet, name: str) -> None:
    network, path = squeezenet
    x = torch.rand(2, 3, 64, 64)
    mean = torch.tensor({"caffe-vgg": [103.939, 116.779, 123.68], "caffenet": [104.007, 116.6688, 122.6789]}[name])
    bgr = x.flip(1) * 255 - mean.reshape(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(pretrained_classifier("squeezenet1_1", path, name)(x), network(bgr), rtol=1e-4, atol=1e-4)


def test_the_augmented_classifier_reconstructs_the_unnormalised_image(squeezenet) -> None:
    classifier = pretrained_classifier("squeezenet1_1", squeezenet[1])
    x = torch.rand(1, 3, 64, 64)
    output = augment(classifier, "all")(x)
    assert output.targets[0] is x and torch.equal(output.logits, classifier(x))
    assert [each.shape[1] for each in output.reconstructions] == [3, 64, 128, 256]


def test_the_cache_of_torch_hub_is_used_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *a, **k: pytest.fail("network"))
    with pytest.raises(WeightsError, match=r"looked for .*squeezenet1_1-b8a52dc0\.pth; get it from https://"):
        pretrained_classifier("squeezenet1_1", "IMAGENET1K_V1")
    (tmp_path / "checkpoints").mkdir()
    torch.save(shapes_of("squeezenet1_1"), tmp_path / "checkpoints" / "squeezenet1_1-b8a52dc0.pth")
    classifier = pretrained_classifier("squeezenet1_1", "IMAGENET1K_V1")
    assert classifier.mean.flatten().tolist() == pytest.approx(CONVENTIONS["torchvision"].mean)
    with pytest.raises(WeightsError, match="expected a file or one of IMAGENET1K_V1, DEFAULT, got 'V7'"):
        pretrained_classifier("squeezenet1_1", "V7")


def test_a_download_is_made_only_when_it_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    fetched = []
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url",
        lambda url, *a, **k: fetched.append(url) or shapes_of("squeezenet1_1"),
    )
    pretrained_classifier("squeezenet1_1", "IMAGENET1K_V1", download=True)
    assert fetched == ["https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth"]


def test_features_alone_are_refused_for_classification_and_taken_for_reconstruction(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    state = shapes_of("vgg16")
    state |= {key: torch.full((1,), torch.nan).expand(value.shape) for key, value in state.items() if key.startswith("classifier")}
    torch.save(state, tmp_path / "checkpoints" / "vgg16_features-amdegroot-88682ab5.pth")
    with pytest.raises(WeightsError, match="its classifier was never trained, use it for reconstruction only"):
        pretrained_classifier("vgg16", "IMAGENET1K_FEATURES")
    classifier = pretrained_classifier("vgg16", "IMAGENET1K_FEATURES", for_classification=False)
    assert classifier.std.flatten().tolist() == pytest.approx([1 / 255] * 3)
    with torch.no_grad():
        output = augment(classifier, "first")(torch.rand(1, 3, 32, 32))
    assert output.logits.shape == (1, 512 * 7 * 7) and output.reconstructions[0].shape == (1, 3, 32, 32)


FC = ("fc6", "fc7", "fc8")
CAFFE = [f"conv{block}_{i}" for block, count in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, count + 1)] + [*FC]


@pytest.mark.parametrize("naming", ["caffe", "with a flattening"])
def test_conversions_of_caffes_vgg_have_other_names(tmp_path: Path, naming: str) -> None:
    state = shapes_of("vgg16")
    own = sorted({key.rpartition(".")[0] for key in state}, key=lambda name: (name[0] == "c", int(name.split(".")[1])))
    assert len(own) == len(CAFFE) == 16
    # A number for each layer, so that one in another's place is seen.
    values = {name: torch.full((1,), float(number)) for number, name in enumerate(own)}
    numbered = {key: values[key.rpartition(".")[0]].expand(value.shape) for key, value in state.items()}
    if naming == "caffe":
        renamed = {key.replace(name, new): value for name, new in zip(own, CAFFE, strict=True)
                   for key, value in numbered.items() if key.rpartition(".")[0] == name}  # fmt: skip
        renamed |= {key: value.reshape(1, 1, 1, -1) for key, value in renamed.items() if key.endswith("bias")}
    else:
        renamed = {key.replace("classifier.0", "classifier.1").replace("classifier.3", "classifier.4"): value
                   for key, value in numbered.items()}  # fmt: skip
    torch.save(renamed, tmp_path / "vgg.pth")
    loaded = pretrained_classifier("vgg16", tmp_path / "vgg.pth", "caffe-vgg").network.state_dict()
    for key, value in numbered.items():
        assert loaded[key].shape == value.shape and loaded[key].flatten()[0] == value.flatten()[0]


def test_caffenets_own_names(tmp_path: Path) -> None:
    from wwae.models.caffenet import CaffeNet

    with torch.device("meta"):
        network = CaffeNet()
    state = {key: torch.full((1,), 0.01).expand(value.shape) for key, value in network.state_dict().items()}
    assert {key.split(".")[0] for key in state} == {"conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"}
    torch.save(state, tmp_path / "caffenet.pth")
    classifier = pretrained_classifier("caffenet", tmp_path / "caffenet.pth")
    assert classifier.mean.flatten().tolist() == pytest.approx(CONVENTIONS["caffenet"].mean)
    with pytest.raises(WeightsError, match="torchvision has none for it"):
        pretrained_classifier("caffenet", "IMAGENET1K_V1")


def small_vgg() -> nn.Module:
    """The layers of VGG's features and classifier, in two blocks, for images of 8x8."""
    features = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    )  # fmt: skip
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(24, 7), nn.ReLU(), nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 5))
    return nn.Sequential(OrderedDict(features=features, classifier=classifier))


def small_caffenet() -> nn.Module:
    """Two convolutions, one of two groups, and three inner products under CaffeNet's names, for images of 8x8."""
    layers = {
        "conv1": nn.Conv2d(3, 4, 3), "relu1": nn.ReLU(), "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(4, 6, 3, groups=2), "flatten": nn.Flatten(),
        "fc6": nn.Linear(6, 7), "relu6": nn.ReLU(), "fc7": nn.Linear(7, 7), "relu7": nn.ReLU(), "fc8": nn.Linear(7, 5),
    }  # fmt: skip
    return nn.Sequential(OrderedDict(layers))


# Caffe's names for the layers of the two, in their order.
SMALL = {
    "caffe-vgg": ("vgg16", small_vgg, ("conv1_1", "conv1_2", "conv2_1", *FC)),
    "caffenet": ("caffenet", small_caffenet, ("conv1", "conv2", *FC)),
}


@pytest.mark.parametrize("old", [True, False], ids=["as released", "today"])
@pytest.mark.parametrize("convention", SMALL)
def test_caffes_own_file_gives_what_its_conversion_gives(tmp_path: Path, monkeypatch, convention: str, old: bool) -> None:
    torch.manual_seed(0)
    name, make, names = SMALL[convention]
    network = make()
    monkeypatch.setattr("wwae.models.pretrained._network", lambda name: make())
    modules = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    converted, layers = {}, [Layer("data", "Data")]
    for layer, module in zip(names, modules, strict=True):
        converted |= {f"{layer}.weight": module.weight.detach(), f"{layer}.bias": module.bias.detach()}
        kind = "Convolution" if isinstance(module, nn.Conv2d) else "InnerProduct"
        layers.append(Layer(layer, kind, (module.weight.detach().numpy(), module.bias.detach().numpy())))
    torch.save(converted, tmp_path / "converted.pth")
    (tmp_path / "released.caffemodel").write_bytes(caffe_bytes(layers, old=old, four_sizes=old))

    expected = pretrained_classifier(name, tmp_path / "converted.pth", convention)
    read = pretrained_classifier(name, str(tmp_path / "released.caffemodel"))  # Caffe's convention is the default
    assert read.state_dict().keys() == expected.state_dict().keys()
    assert all(torch.equal(value, read.state_dict()[key]) for key, value in expected.state_dict().items())
    x = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(read(x), expected(x))
        mean = torch.tensor(CONVENTIONS[convention].mean).reshape(3, 1, 1)
        torch.testing.assert_close(read(x), network(255 * (x - mean).flip(1)), rtol=1e-4, atol=1e-4)


def test_layers_that_caffes_file_lacks_or_has_too_many_of_are_listed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("wwae.models.pretrained._network", lambda name: small_vgg())
    fc8 = small_vgg().classifier[5].weight.detach().numpy()
    (tmp_path / "part.caffemodel").write_bytes(
        caffe_bytes([Layer("fc8", "InnerProduct", (fc8,)), Layer("fc9", "InnerProduct", (fc8,))])
    )
    message = "missing: .*classifier.5.bias, .*features.0.weight.*\nunexpected: fc9.weight$"
    with pytest.raises(WeightsError, match=message) as failure:
        pretrained_classifier("vgg16", tmp_path / "part.caffemodel")
    assert "classifier.5.weight" not in str(failure.value)


def test_missing_and_unexpected_keys_are_all_listed(tmp_path: Path, squeezenet) -> None:
    state = squeezenet[0].state_dict()
    state["features.99.weight"] = state.pop("features.0.weight")
    state["extra"] = state.pop("classifier.1.bias")
    torch.save(state, tmp_path / "wrong.pth")
    message = "not the weights of SqueezeNet\nmissing: classifier.1.bias, features.0.weight\nunexpected: extra, features.99.weight"
    with pytest.raises(WeightsError, match=f"{re.escape(message)}$"):
        pretrained_classifier("squeezenet1_1", tmp_path / "wrong.pth")


def test_other_shapes_and_values_that_are_not_finite_are_named(tmp_path: Path, squeezenet) -> None:
    state = squeezenet[0].state_dict()
    torch.save(state | {"features.0.weight": torch.zeros(64, 3, 5, 5)}, tmp_path / "shape.pth")
    torch.save(state | {"features.0.bias": torch.full((64,), torch.inf)}, tmp_path / "infinite.pth")
    with pytest.raises(WeightsError, match=re.escape("expected features.0.weight of shape [64, 3, 3, 3], got [64, 3, 5, 5]")):
        pretrained_classifier("squeezenet1_1", tmp_path / "shape.pth")
    with pytest.raises(WeightsError, match=r"values that are not finite in features\.0\.bias$"):
        pretrained_classifier("squeezenet1_1", tmp_path / "infinite.pth")


def test_unknown_names_are_refused(squeezenet) -> None:
    with pytest.raises(ValueError, match="expected caffenet or a classifier of torchvision, got 'vgg17'"):
        pretrained_classifier("vgg17", squeezenet[1])
    with pytest.raises(ValueError, match="expected convention to be one of rgb, torchvision, caffe-vgg, caffenet, got 'bgr'"):
        pretrained_classifier("squeezenet1_1", squeezenet[1], "bgr")
    with pytest.raises(ValueError, match="resnet18 has no part named classifier"):
        pretrained_classifier("resnet18", squeezenet[1], for_classification=False)

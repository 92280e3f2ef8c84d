"""The parts of an inversion: its network, its optimiser's groups, and the decoders in its checkpoints."""

import copy

import pytest
import torch
from small_alexnet import SmallAlexNet
from torch import nn

from wwae.models import alexnet_inversion
from wwae.models.alexnet import ALEXNET_LAYERS
from wwae.models.strided_decoder import StridedDecoder
from wwae.training import ConfigurationError, inversion
from wwae.training.decoder_fit import weights_digest, with_decoders
from wwae.training.gallery import choose_layers
from wwae.training.inversion_configuration import DecoderConfiguration
from wwae.training.inverted_network import inverted_network


def plain_network() -> nn.Sequential:
    """Two pooling layers, the first of them after a convolution that strides."""
    layers = [nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(5 * 4, 2))


def test_the_network_says_which_layers_there_are() -> None:
    alexnet = inverted_network("caffenet", SmallAlexNet())
    assert (alexnet.layers, alexnet.image_sizes) == (ALEXNET_LAYERS, range(67, 99))
    assert alexnet.augmented("layerwise", "fixed", "fc7").layer_names == ALEXNET_LAYERS[:7]
    plain = inverted_network("plain", plain_network())
    assert (plain.layers, plain.image_sizes) == (("pool1", "pool2"), None)
    model = plain.augmented("first", "known", "pool1")
    assert model.layer_names == ("pool1",) and isinstance(model.decoders[0], StridedDecoder)
    with pytest.raises(ValueError, match="stages has no pooling layer to start from, only stage1, stage2"):
        inverted_network("stages", nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2), nn.Flatten()))


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("layer", ["conv2", "fc8"])
def test_all_that_decodes_is_in_the_optimisers_groups_once(solver: str, layer: str) -> None:
    model = alexnet_inversion(layer, "known", SmallAlexNet(), "layerwise").freeze_encoder()
    groups = inversion._groups(model, torch.rand(2, 3, 67, 67), DecoderConfiguration(name=solver))
    grouped = [parameter for group in groups for parameter in group["params"]]
    decoding = [parameter for decoder in model.layer_decoders for parameter in decoder.parameters()]
    assert len(grouped) == len(decoding) and set(grouped) == set(decoding)
    assert all(parameter.requires_grad for parameter in decoding)


def test_adams_rate_of_an_inner_product_falls_with_its_inputs(monkeypatch) -> None:
    model = alexnet_inversion("fc8", "known", SmallAlexNet(), "layerwise").freeze_encoder().eval()
    images = torch.rand(2, 3, 67, 67)

    def rates() -> dict[nn.Parameter, float]:
        groups = inversion._groups(model, images, DecoderConfiguration(name="adam", lr=0.1))
        return {parameter: group["lr"] for group in groups for parameter in group["params"]}

    scales = [end.square().mean().sqrt().item() for end in model.encoder_maps(images)]
    few = rates()
    monkeypatch.setattr(inversion, "INNER_PRODUCT_INPUTS", 8)
    many = rates()
    for number, name in enumerate(("fc6", "fc7", "fc8"), start=5):
        inner = model.inner_products[name]
        assert few[inner.weight] == pytest.approx(0.1 * scales[number] / scales[number + 1], rel=1e-5)
        assert many[inner.weight] == pytest.approx(few[inner.weight] * min(1, 8 / inner.in_features), rel=1e-5)
        assert many[inner.bias] == few[inner.bias] == pytest.approx(0.2 * scales[number], rel=1e-5)
    last = model.decoders[2].deconvolutions["conv3"].weight
    assert many[last] == few[last]


def test_the_digest_is_that_of_names_and_values() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).double()
    digest = weights_digest(network)
    assert digest == weights_digest(copy.deepcopy(network).to(memory_format=torch.channels_last)) and len(digest) == 64
    assert digest != weights_digest(nn.ModuleDict({"a": network[0], "b": network[1]}))
    network[1].num_batches_tracked += 1
    assert digest != weights_digest(network)


def test_decoders_of_more_layers_start_those_of_fewer() -> None:
    classifier = SmallAlexNet()
    state = {"model": {}, "encoder_digest": "abc"}
    for name, value in alexnet_inversion("fc7", "known", classifier).state_dict().items():
        if not name.startswith("classifier."):
            state["model"][name] = torch.randn_like(value)
    model = alexnet_inversion("conv3", "known", classifier)
    model.load_state_dict(with_decoders(model, state, "abc"))
    assert torch.equal(model.decoders[2].deconvolutions["conv3"].weight, state["model"]["decoders.2.deconvolutions.conv3.weight"])
    model = alexnet_inversion("fc8", "known", classifier)
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "inner_products.fc8.weight"'):
        model.load_state_dict(with_decoders(model, state, "abc"))
    with pytest.raises(ValueError, match="its decoders were trained for a classifier with other weights"):
        with_decoders(model, state, "abd")


def test_layers_are_chosen_in_the_networks_order() -> None:
    known = ("conv1", "conv2", "fc6")
    assert choose_layers("layers", (), known) == known
    assert choose_layers("layers", ("fc6", "conv1", "fc6"), known) == ("conv1", "fc6")
    with pytest.raises(ConfigurationError, match=r"^layers: expected some of conv1, conv2, fc6, got 'fc66', did you mean 'fc6'\?$"):
        choose_layers("layers", ("conv1", "fc66"), known)
    with pytest.raises(ConfigurationError, match=r"got 'x'$"):
        choose_layers("layers", ("x",), known)

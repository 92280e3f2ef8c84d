"""Inversion of AlexNet from each of its layers (Zhang et al. 2016, section 4.2), and reconstruction with any switches."""

import pytest
import torch
import torch.nn.functional as F
from small_alexnet import SmallAlexNet
from torch import nn

from wwae.models import CaffeNet, alexnet_inversion, augment
from wwae.models.alexnet import ALEXNET_LAYERS, alexnet_image_sizes
from wwae.models.decoder import WEIGHT_STD
from wwae.models.pretrained import NormalisedClassifier


@pytest.fixture
def x() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(2, 3, 67, 67)


@pytest.fixture(scope="module")
def caffenet() -> CaffeNet:
    return CaffeNet().eval()


def test_caffenet_is_the_papers(caffenet) -> None:
    assert sum(parameter.numel() for parameter in caffenet.parameters()) == 60_965_224
    sizes, image = set(), torch.rand(1, 3, 227, 227)
    with torch.no_grad():
        for name, layer in caffenet.named_children():
            image = layer(image)
            sizes.add((name, tuple(image.shape[1:])))
    expected = {"conv1": (96, 55, 55), "pool1": (96, 27, 27), "pool2": (256, 13, 13), "pool5": (256, 6, 6), "fc8": (1000,)}
    assert set(expected.items()) < sizes


@pytest.mark.parametrize("switches", ["known", "fixed"])
@pytest.mark.parametrize("layer", ALEXNET_LAYERS)
def test_every_layer_is_inverted(x, layer, switches) -> None:
    model = alexnet_inversion(layer, switches, SmallAlexNet()).eval()
    output = model(x)
    assert torch.equal(output.logits, model.classifier(x))
    assert [each.shape for each in output.reconstructions] == [x.shape] and output.targets[0] is x
    number = 1 + ALEXNET_LAYERS.index(layer)
    assert model.layer_names == ALEXNET_LAYERS[:number]
    assert [each.name for each in model.macro_layers] == list(ALEXNET_LAYERS[: min(number, 5)])
    assert all(len(each.convolutions) == 1 for each in model.macro_layers)
    assert list(model.inner_products) == list(ALEXNET_LAYERS[5:number])


@pytest.mark.parametrize(("form", "size"), [("caffenet", 227), ("torchvision", 224)])
def test_both_forms_at_their_native_size(caffenet, form, size) -> None:
    model = alexnet_inversion("conv5", "known", caffenet if form == "caffenet" else form).eval()
    with torch.no_grad():
        output = model(torch.rand(1, 3, size, size))
    assert output.logits.shape == (1, 1000) and output.reconstructions[0].shape == (1, 3, size, size)
    first = model.decoders[0]
    maps = 96 if form == "caffenet" else 64
    assert [(each.in_channels, each.out_channels, each.kernel_size, each.stride) for each in first.deconvolutions.values()] == [
        (maps, maps, (5, 5), (1, 1)), (maps, 48, (11, 11), (4, 4)), (48, 3, (5, 5), (1, 1)),
    ]  # fmt: skip


def test_inner_products_are_turned_around_by_inner_products(x) -> None:
    network = SmallAlexNet().eval()
    model = alexnet_inversion("fc7", "fixed", network)
    lower = alexnet_inversion("conv5", "fixed", network)
    lower.decoders.load_state_dict(model.decoders.state_dict())
    with torch.no_grad():
        for inner in model.inner_products.values():
            inner.weight.mul_(100)
        fc7 = F.relu(network.fc7(F.relu(network.fc6(nn.Sequential(*list(network.children())[:14])(x)))))
        six = F.relu(F.linear(fc7, model.inner_products["fc7"].weight, model.inner_products["fc7"].bias))
        five = F.relu(F.linear(six, model.inner_products["fc6"].weight, model.inner_products["fc6"].bias))
        expected = five.reshape(2, 16, 1, 1)
        for number in reversed(range(5)):
            size = [(67, 67), (7, 7), (3, 3), (3, 3), (3, 3)][number]
            expected = lower.decoders[number](expected, size, None)
        assert torch.equal(model(x).reconstructions[0], expected)
        # From the clean map of conv5 it is the shorter model.
        assert torch.equal(model.reconstruct(x, "conv5"), lower(x).reconstructions[0])


@pytest.mark.parametrize("layer", ALEXNET_LAYERS)
def test_layerwise_each_layer_is_decoded_from_the_encoders_own_map(x, layer) -> None:
    model = alexnet_inversion(layer, "known", SmallAlexNet(), "layerwise").eval()
    maps = model.encoder_maps(x)
    output = model(x)
    assert len(maps) == 1 + len(model.layer_names) == 1 + len(model.layer_decoders)
    assert all(torch.equal(target, end) for target, end in zip(output.targets, maps[:-1], strict=True))
    assert [each.shape for each in output.reconstructions] == [each.shape for each in maps[:-1]]
    for number, inner in enumerate(model.inner_products.values(), start=5):
        assert torch.equal(output.reconstructions[number].flatten(1), F.relu(inner(maps[number + 1])))
    if layer == "fc8":
        network = model.classifier
        end = network.pool5(F.relu(network.conv5(maps[4])))
        assert torch.equal(maps[5], end) and torch.equal(maps[6], F.relu(network.fc6(end.flatten(1))))
        assert torch.equal(maps[8], output.logits)


def test_layerwise_weights_start_the_chain(x) -> None:
    network = SmallAlexNet()
    layerwise = alexnet_inversion("fc8", "fixed", network, "layerwise").eval()
    with torch.no_grad():
        for parameter in layerwise.layer_decoders[-1].parameters():
            parameter.normal_()
    chain = alexnet_inversion("fc8", "fixed", network).eval()
    chain.load_state_dict(layerwise.state_dict())
    everything = alexnet_inversion("fc8", "fixed", network, "all").eval()
    everything.load_state_dict(layerwise.state_dict())
    found = everything(x)
    assert torch.equal(chain(x).reconstructions[0], layerwise.reconstruct(x))
    assert len(found.reconstructions) == 8 and torch.equal(found.reconstructions[0], chain(x).reconstructions[0])
    # The last one is decoded from the encoder's map either way.
    assert torch.equal(found.reconstructions[7], layerwise(x).reconstructions[7])


def test_the_sizes_of_images_are_those_that_the_first_inner_product_reads(caffenet) -> None:
    assert alexnet_image_sizes(SmallAlexNet()) == range(67, 99)
    assert alexnet_image_sizes(caffenet) == range(227, 259)
    assert alexnet_image_sizes(alexnet_inversion("conv1", classifier="torchvision").classifier) == range(223, 255)
    model = alexnet_inversion("fc6", "known", SmallAlexNet()).eval()
    for size in (67, 82, 98):
        images = torch.rand(1, 3, size, size)
        assert model(images).reconstructions[0].shape == images.shape
    for size in (66, 99):
        with pytest.raises(RuntimeError, match=r"shapes cannot be multiplied|Output size is too small"):
            model.classifier(torch.rand(1, 3, size, size))


def test_new_weights_are_gaussian() -> None:
    model = alexnet_inversion("fc8", classifier=SmallAlexNet())
    assert model.decoders[1].deconvolutions["conv2"].weight.std().item() == pytest.approx(WEIGHT_STD, rel=0.15)
    assert model.decoders[0].deconvolutions["before"].weight.std().item() == pytest.approx(WEIGHT_STD, rel=0.15)
    for name, std in (("fc6", 0.005), ("fc7", 0.005), ("fc8", 0.01)):
        assert model.inner_products[name].weight.std().item() == pytest.approx(std, rel=0.2)
        assert not model.inner_products[name].bias.any()


def test_only_the_decoder_of_a_frozen_encoder_learns(x) -> None:
    torch.manual_seed(0)
    model = alexnet_inversion("fc8", classifier=SmallAlexNet()).freeze_encoder().train()
    assert not model.classifier.training and model.inner_products.training
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("classifier") and name.endswith("weight"):
                nn.init.kaiming_uniform_(parameter)
    output = model(x)
    (output.reconstructions[0] - x).square().sum().backward()
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None and parameter.grad.any()}
    decoder = {name for name, _ in model.named_parameters() if not name.startswith("classifier.")}
    assert {name for name in decoder if name.endswith("weight")} <= reached <= decoder


def test_a_normalised_classifier_is_inverted_to_the_image_itself(x) -> None:
    model = alexnet_inversion("conv2", classifier=NormalisedClassifier(SmallAlexNet(), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)))
    assert model(x).targets[0] is x and model.macro_layers[0].channels[0] == 3


def test_mistakes_are_explained(x) -> None:
    with pytest.raises(ValueError, match=r"expected layer to be one of conv1, .*, got 'pool5'"):
        alexnet_inversion("pool5")
    with pytest.raises(ValueError, match="expected a network or one of caffenet, torchvision, got 'vgg'"):
        alexnet_inversion("conv1", classifier="vgg")  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match="expected five convolutions, then three inner products, got 1 and 1 of them in Sequential"
    ):
        alexnet_inversion("conv1", classifier=nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2)))
    with pytest.raises(ValueError, match="expected variant to be one of first, all, layerwise, got 'last'"):
        alexnet_inversion("conv1", classifier=SmallAlexNet(), variant="last")  # type: ignore[arg-type]
    network = SmallAlexNet()
    network.fc6 = nn.Linear(17, 32)
    with pytest.raises(ValueError, match="fc6 of SmallAlexNet reads 17 values, which no square images give it"):
        alexnet_image_sizes(network)
    with pytest.raises(ValueError, match="expected switches to be one of known, fixed, got 'none'"):
        alexnet_inversion("conv1", "none", SmallAlexNet())  # type: ignore[arg-type]
    model = alexnet_inversion("conv2", classifier=SmallAlexNet())
    with pytest.raises(ValueError, match="expected from_layer to be one of conv1, conv2, got 'conv3'"):
        model.reconstruct(x, "conv3")


@pytest.fixture
def augmented() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    model = augment(nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(5)), "all", example_input=torch.rand(1, 3, 8, 8)).eval()
    for parameter in model.decoders.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def test_reconstruct_is_the_chain_from_any_layer(augmented) -> None:
    x = torch.rand(3, 3, 8, 8)
    with torch.no_grad():
        for augmented.switches in ("known", "fixed"):
            output = augmented(x)
            assert torch.equal(augmented.reconstruct(x), output.reconstructions[0])
            augmented.variant = "layerwise"
            assert torch.equal(augmented.reconstruct(x, "pool1"), augmented(x).reconstructions[0])
            augmented.variant = "all"
        assert torch.equal(augmented.reconstruct(x, switches="fixed"), augmented(x).reconstructions[0])
    assert augmented.layer_names == ("pool1", "pool2")
    with pytest.raises(ValueError, match="expected switches to be one of known, fixed, shuffled, zeroed, got 'none'"):
        augmented.reconstruct(x, switches="none")


def test_shuffled_switches_are_those_of_the_image_before(augmented) -> None:
    augmented.switches = "known"
    x = torch.rand(3, 3, 8, 8)
    with torch.no_grad():
        shuffled = augmented.reconstruct(x, switches="shuffled")
        same = x[[1, 1, 1]]
        assert torch.equal(augmented.reconstruct(same, switches="shuffled"), augmented.reconstruct(same))
        pair = torch.stack([x[0], x[1]])
        assert not torch.equal(shuffled[1], augmented.reconstruct(x)[1])
        torch.testing.assert_close(augmented.reconstruct(pair, switches="shuffled")[1], shuffled[1])


def test_zeroed_switches_are_the_first_tap(augmented) -> None:
    x = torch.rand(1, 3, 8, 8)
    x[:] = torch.arange(8.0).flip(0).reshape(1, 8, 1) + torch.arange(8.0).flip(0)  # falls to the right and downwards
    with torch.no_grad():
        for layer in augmented.classifier:
            if isinstance(layer, nn.Conv2d):  # keeps the fall, so that every maximum is the first of its window
                layer.weight.zero_()
                layer.weight[:, :, 1, 1] = 1
                layer.bias.zero_()
        assert torch.equal(augmented.reconstruct(x, switches="zeroed"), augmented.reconstruct(x, switches="known"))
        assert not torch.equal(augmented.reconstruct(x, switches="zeroed"), augmented.reconstruct(x, switches="fixed"))

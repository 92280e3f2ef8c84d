"""Augmented classifiers: Zhang, Lee and Lee 2016, eq. 1 to 3 and figures 1 and 2."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import wwae
from wwae.models import AugmentedClassifier, augment

VARIANTS = ["first", "all", "layerwise"]


def plain(*extra):
    """Two macro-layers of two and one convolutions."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(5, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        *extra, nn.Flatten(), nn.Linear(6 * 2 * 2, 7),
    )  # fmt: skip


def larger_weights(model):
    """Weights at which a wrong decoder shows: with the standard deviation 0.001 of new ones all maps are about 0."""
    with torch.no_grad():
        for parameter in model.decoders.parameters():
            parameter.normal_(std=0.3)
    return model


def deconvolutions(model):
    return [list(decoder.deconvolutions.values()) for decoder in model.decoders]


def transposed(layer, x, relu):
    y = F.conv_transpose2d(x, layer.weight, layer.bias, padding=1)
    return F.relu(y) if relu else y


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("switches", ["known", "fixed"])
def test_a_plain_network_is_mirrored_as_in_figures_1_and_2(variant, switches):
    classifier = plain().double()
    model = larger_weights(augment(classifier, variant, switches))
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)

    full = F.relu(classifier[2](F.relu(classifier[0](x))))
    a1, where1 = F.max_pool2d(full, 2, return_indices=True)
    a2, where2 = F.max_pool2d(F.relu(classifier[5](a1)), 2, return_indices=True)

    def unpool(values, where):
        if switches == "known":
            return F.max_unpool2d(values, where, 2)
        full = values.new_zeros(*values.shape[:2], values.shape[2] * 2, values.shape[3] * 2)
        full[..., 1::2, 1::2] = values
        return full

    (upper, lower), (top,) = deconvolutions(model)
    a1_hat = transposed(top, unpool(a2, where2), relu=True)
    from_1 = a1 if variant == "layerwise" else a1_hat
    x_hat = transposed(lower, transposed(upper, unpool(from_1, where1), relu=True), relu=False)
    assert (upper.in_channels, upper.out_channels, lower.out_channels, top.out_channels) == (5, 4, 3, 5)

    output = model(x)
    expected = [(x_hat, x)] if variant == "first" else [(x_hat, x), (a1_hat, a1)]
    assert len(output.reconstructions) == len(output.targets) == len(expected)
    for reconstruction, target, pair in zip(output.reconstructions, output.targets, expected, strict=True):
        assert torch.equal(reconstruction, pair[0])
        assert torch.equal(target, pair[1])
    assert output.targets[0] is x


def test_overlapping_windows_are_divided_by_their_hits():
    classifier = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(3, 2), nn.Flatten())
    model = augment(classifier)
    with torch.no_grad():
        for layer in (classifier[0], *deconvolutions(model)[0]):
            layer.weight.fill_(1)
            layer.bias.fill_(0)
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2], x[0, 0, 0, 4] = 3, 9  # the 3 is the maximum of three windows, the 9 of one
    assert torch.equal(model(x).reconstructions[0], x)
    fixed = augment(classifier, switches="fixed")
    fixed.load_state_dict(model.state_dict())
    expected = torch.zeros(1, 1, 5, 5)
    expected[0, 0, 1::2, 1::2] = torch.tensor([[3.0, 9], [3, 3]])
    assert torch.equal(fixed(x).reconstructions[0], expected)


def test_reconstructed_values_that_meet_are_averaged():
    """The windows of one maximum may get different values from the macro-layer above."""
    model = augment(nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(3, 2), nn.Flatten()))
    (deconvolution,) = deconvolutions(model)[0]
    nn.init.ones_(deconvolution.weight)
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1
    _, switches = wwae.ops.switch_pool2d(x, 3, 2)
    reconstruction = model.decoders[0](torch.tensor([[[[1.0, 2], [3, 6]]]]), (5, 5), {1: switches})
    assert torch.equal(reconstruction, 3 * x)


@pytest.mark.parametrize(("kernel_size", "stride", "padding", "dilation", "ceil_mode"), [
    (2, 2, 0, 1, False), (2, 2, 0, 1, True), (3, 2, 0, 1, False), (3, 2, 0, 1, True), (3, 2, 1, 1, False), (3, 2, 1, 1, True),
    (3, 1, 1, 1, False), (3, 3, 1, 1, True), (2, 2, 1, 1, False), (2, 1, 0, 1, False), (3, 2, 1, 2, False), (5, 3, 2, 1, True),
    (2, 3, 0, 1, False), ((2, 3), (2, 1), (1, 0), 1, False),
])  # fmt: skip
@pytest.mark.parametrize("size", [(13, 12), (14, 15), (12, 17)])
def test_every_pool_returns_the_size_that_was_pooled(kernel_size, stride, padding, dilation, ceil_mode, size):
    pool = nn.MaxPool2d(kernel_size, stride, padding, dilation, ceil_mode=ceil_mode)
    classifier = nn.Sequential(nn.Conv2d(1, 1, 1), pool, nn.Flatten())
    for switches in ("known", "fixed"):
        output = augment(classifier, switches=switches)(torch.rand(1, 1, *size))
        assert output.reconstructions[0].shape == (1, 1, *size)


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_a_fixed_switch_stands_in_the_middle_of_its_window(kernel_size):
    """With padding too: where the k // 2 tap of each window lies in the map, its value is found."""
    classifier = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(kernel_size, 2, padding=1), nn.Flatten())
    model = augment(classifier, switches="fixed")
    with torch.no_grad():
        for layer in (classifier[0], *deconvolutions(model)[0]):
            layer.weight.fill_(1)
            layer.bias.fill_(0)
    x = torch.rand(1, 1, 8, 8) + 1
    values = F.max_pool2d(x, kernel_size, 2, padding=1)
    expected = torch.zeros_like(x)
    for row in range(values.shape[2]):
        for column in range(values.shape[3]):
            r, c = (2 * each - 1 + kernel_size // 2 for each in (row, column))
            if r < 8 and c < 8:
                expected[0, 0, r, c] = values[0, 0, row, column]
    assert torch.equal(model(x).reconstructions[0], expected)


@pytest.mark.parametrize("settings", [
    {"kernel_size": 3, "stride": 2}, {"kernel_size": 11, "stride": 4, "padding": 2}, {"kernel_size": 3, "dilation": 2},
    {"kernel_size": 2, "padding": "same"}, {"kernel_size": (1, 4), "padding": "same"}, {"kernel_size": 5, "padding": "valid"},
    {"kernel_size": 3, "groups": 2}, {"kernel_size": 3, "stride": (2, 1), "padding": (1, 0), "bias": False},
    {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
], ids=str)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")
def test_a_deconvolution_has_the_geometry_of_its_convolution(settings):
    """Sizes come back for every remainder; with the convolution's own weight it is its transpose, where it pads with zeros."""
    layer = nn.Conv2d(2, 4, **settings).double()
    model = augment(nn.Sequential(layer, nn.Flatten()))
    (deconvolution,) = deconvolutions(model)[0]
    with torch.no_grad():
        deconvolution.weight.copy_(layer.weight)
    for size in [(15, 16), (17, 18), (19, 15)]:
        x = torch.rand(1, 2, *size, dtype=torch.float64, requires_grad=True)
        output = model(x)
        assert output.reconstructions[0].shape == x.shape
        if settings.get("padding_mode") is None:
            y = layer(x)
            (expected,) = torch.autograd.grad(y, x, y)
            torch.testing.assert_close(output.reconstructions[0], expected)


def test_new_weights_are_gaussian_and_biases_zero():
    model = augment(nn.Sequential(nn.Conv2d(64, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()))
    (layer,) = deconvolutions(model)[0]
    assert abs(layer.weight.mean().item()) < 2e-5
    assert layer.weight.std().item() == pytest.approx(1e-3, rel=0.02)
    assert 2.9 < (layer.weight / layer.weight.std()).pow(4).mean().item() < 3.1
    assert not layer.bias.any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_neither_side_of_a_loss_is_detached(variant):
    """The joint step moves the encoder through the map that is decoded and through the map that is compared."""
    model = larger_weights(augment(plain(), variant))
    output = model(torch.rand(2, 3, 8, 8))
    first, deeper = model.classifier[0].weight, model.classifier[5].weight
    sides = torch.autograd.grad(output.reconstructions[0].square().sum(), [first, deeper], retain_graph=True, allow_unused=True)
    assert sides[0].any()
    assert (sides[1] is None) == (variant == "layerwise")  # the image is then decoded from pool1
    if variant != "first":
        assert torch.autograd.grad(output.targets[1].sum(), first)[0].any()


def test_the_variants_share_their_weights():
    """Weights trained layer-wise start the others: step 3 of section 4.1."""
    layerwise = larger_weights(augment(plain(), "layerwise"))
    stacked = augment(plain(), "all", "fixed")
    assert stacked.load_state_dict(layerwise.state_dict()).missing_keys == []
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(stacked(x).logits, layerwise(x).logits)


@pytest.mark.parametrize(("from_layer", "kept"), [("last", 2), ("pool2", 2), (2, 2), ("7", 2), ("pool1", 1), (1, 1), ("4", 1)])
def test_decoding_starts_at_any_macro_layer(from_layer, kept):
    model = augment(plain(), "all", from_layer=from_layer)
    assert [layer.name for layer in model.macro_layers] == ["pool1", "pool2"][:kept]
    assert len(model.decoders) == len(model(torch.rand(1, 3, 8, 8)).targets) == kept


class Functional(nn.Module):
    """A network as users write it: one pooling module for all, or none."""

    def __init__(self, pool=None):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6 * 3 * 3, 5)
        self.pool = pool or (lambda x: F.max_pool2d(x, kernel_size=2, stride=2))

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.bn(self.conv2(x))))
        return F.log_softmax(self.fc(x.view(x.size(0), -1)), dim=1)


@pytest.mark.parametrize("pool", [None, nn.MaxPool2d(2), wwae.nn.MaxPool2d(2)], ids=["function", "module", "wwae.nn"])
def test_functions_and_shared_modules(pool):
    model = larger_weights(augment(Functional(pool), "all"))
    x = torch.rand(2, 1, 15, 14)
    model.eval()
    output = model(x)
    assert torch.equal(output.logits, model.classifier(x))
    conv1 = F.max_pool2d(F.relu(model.classifier.conv1(x)), 2)
    assert torch.equal(output.targets[1], conv1)
    assert [each.shape for each in output.reconstructions] == [x.shape, conv1.shape]
    stock = copy.deepcopy(model)
    stock.classifier.pool = nn.MaxPool2d(2)
    if pool is not None:
        assert torch.equal(stock(x).reconstructions[0], output.reconstructions[0])


def test_a_network_in_network():
    """Dropout between macro-layers is passed over; its last block ends in the global average pooling."""
    layers = []
    for channels, kernel_size in ((3, 5), (8, 5), (8, 3)):
        layers += [nn.Conv2d(channels, 8, kernel_size, padding=kernel_size // 2), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU()]
        layers += [nn.MaxPool2d(3, 2, ceil_mode=True), nn.Dropout()] if kernel_size == 5 else []
    model = augment(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), "all")
    output = model(torch.rand(1, 3, 32, 32))
    assert [layer.name for layer in model.macro_layers] == ["pool1", "pool2", "stage3"]
    assert [tuple(each.shape[1:]) for each in output.reconstructions] == [(3, 32, 32), (8, 16, 16), (8, 8, 8)]


def test_a_darknet():
    """Batch normalisation, leaky ReLU, and scores by a convolution."""
    layers = []
    for before, after, pools in ((3, 4, True), (4, 8, True), (8, 4, False), (4, 8, True)):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.1, inplace=True)]
        layers += [nn.MaxPool2d(2, 2)] if pools else []
    model = augment(nn.Sequential(*layers, nn.Conv2d(8, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softmax(1)), "layerwise")
    output = model(torch.rand(2, 3, 24, 16))
    assert [layer.name for layer in model.macro_layers] == ["pool1", "pool2", "pool3", "stage4"]
    assert [tuple(each.shape[1:]) for each in output.reconstructions] == [(3, 24, 16), (4, 12, 8), (8, 6, 4), (8, 3, 2)]


@pytest.mark.parametrize("relu", [nn.ReLU(inplace=True), "function"], ids=str)
def test_a_map_that_the_classifier_writes_into_is_kept_as_it_was(relu):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2, self.pool = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.MaxPool2d(2)
            self.relu = (lambda x: F.relu(x, inplace=True)) if relu == "function" else relu

        def forward(self, x):
            return self.relu(self.pool(self.conv2(self.relu(self.pool(self.conv1(x)))))).flatten(1)

    model = augment(Model(), "all")
    x = torch.rand(1, 1, 16, 16)
    a1 = F.max_pool2d(model.classifier.conv1(x), 2)
    assert (a1 < 0).any()
    output = model(x)
    assert torch.equal(output.targets[1], a1)
    assert torch.equal(output.logits, model.classifier(x))
    sum(each.sum() for each in (*output.reconstructions, *output.targets)).backward()


def test_a_last_map_that_dropout_writes_into_is_kept_as_it_was():
    model = larger_weights(augment(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Identity(), nn.Dropout(0.9, inplace=True), nn.Flatten())))
    x = torch.rand(1, 1, 9, 9)
    expected = model.decoders[0](model.classifier[0](x), (9, 9), {})
    assert torch.equal(model.train()(x).reconstructions[0], expected)


def test_a_network_whose_pooling_was_replaced():
    classifier, _ = wwae.replace_pooling(plain().eval())
    x = torch.rand(2, 3, 8, 8)
    output = augment(classifier, "all")(x)
    torch.testing.assert_close(output.logits, classifier(x))
    assert output.targets[1].shape == (2, 5, 4, 4)


def test_the_classifier_stays_what_it_was():
    classifier = plain(nn.Dropout(0.5)).eval()
    seen = []
    classifier[4].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    classifier.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    keys, types = list(classifier.state_dict()), [type(module) for module in classifier.modules()]
    attributes = [sorted(vars(module)) for module in classifier.modules()]
    model = augment(classifier, "all")
    assert seen == []
    x = torch.rand(2, 3, 8, 8)
    logits = model(x).logits
    assert len(seen) == 2
    assert model.classifier is classifier
    assert [type(module) for module in classifier.modules()] == types
    assert [sorted(vars(module)) for module in classifier.modules()] == attributes
    assert [key for key in model.state_dict() if not key.startswith("decoders.")] == [f"classifier.{key}" for key in keys]
    assert all(not module._forward_hooks for module in classifier.modules() if module is not classifier[4])
    assert torch.equal(classifier(x), logits)


def test_an_error_in_the_classifier_leaves_nothing_behind():
    model = augment(plain())
    with pytest.raises(RuntimeError):
        model(torch.rand(1, 3, 20, 20))  # the linear layer gets too much
    assert "forward" not in vars(model.classifier[4])
    assert model(torch.rand(1, 3, 8, 8)).logits.shape == (1, 7)


def test_a_hook_that_changes_a_map_changes_what_is_decoded():
    classifier = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier[2].register_forward_hook(lambda _module, _inputs, output: output * 0)
    model = larger_weights(augment(classifier))
    with torch.no_grad():
        expected = model.decoders[0](torch.zeros(1, 2, 4, 4), (4, 4), {})
    assert torch.equal(model(torch.rand(1, 1, 4, 4)).reconstructions[0], expected)


def test_copies_and_pickles_are_independent(tmp_path):
    model = larger_weights(augment(plain(), "all"))
    x = torch.rand(1, 3, 8, 8)
    twin = copy.deepcopy(model)
    torch.save(model, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    for other in (twin, loaded):
        assert torch.equal(other(x).reconstructions[0], model(x).reconstructions[0])
    with torch.no_grad():
        twin.classifier[0].weight.zero_()
    assert not torch.equal(twin(x).targets[1], model(x).targets[1])


def test_freezing_trains_the_decoders_alone():
    classifier = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(), nn.Flatten())
    classifier[0].bias.requires_grad_(False)
    model = augment(classifier, "layerwise").train()
    assert model.freeze_encoder() is model
    before = copy.deepcopy(classifier.state_dict())
    for _ in range(2):
        model.train()
        assert not any(module.training for module in classifier.modules()) and model.training
        output = model(torch.rand(4, 3, 9, 9))
        assert not output.targets[0].requires_grad and not output.logits.requires_grad
        output.reconstructions[0].sum().backward()
    assert all(torch.equal(value, before[key]) for key, value in classifier.state_dict().items())
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert all(parameter.grad is not None for parameter in model.decoders.parameters())
    assert model.freeze_encoder() is model  # twice is once
    model.unfreeze_encoder()
    assert [p.requires_grad for p in classifier.parameters()] == [True, False, True, True]
    assert classifier.training and classifier[1].training
    model(torch.rand(4, 3, 9, 9))
    assert classifier[1].num_batches_tracked == 1


def test_modes_are_left_as_they_are():
    classifier = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Flatten()).train()
    classifier[1].eval()
    for example in (None, torch.rand(1, 3, 8, 8)):
        model = augment(classifier, example_input=example)
        assert model.training and model.decoders[0].training and classifier[0].training and not classifier[1].training
    assert not augment(classifier.eval()).training


@pytest.mark.parametrize("fuse", [False, True])
def test_a_joint_step_runs_batch_norm_once(fuse):
    classifier = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()).train()
    twin = copy.deepcopy(classifier)
    x = torch.rand(4, 3, 9, 9)
    rounding = {"rtol": 1e-5, "atol": 1e-6} if fuse else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(augment(classifier, fuse=fuse)(x).logits, twin(x), **rounding)
    torch.testing.assert_close(classifier[1].running_mean, twin[1].running_mean, **rounding)
    assert classifier[1].num_batches_tracked == 1


def test_the_nonlinearity_of_a_map_is_that_of_its_mirror():
    layers = [nn.Conv2d(1, 2, 1), nn.LeakyReLU(0.1), nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.MaxPool2d(2)]
    model = larger_weights(
        augment(nn.Sequential(*layers, nn.Conv2d(3, 4, 1), nn.SiLU(inplace=True), nn.Flatten()).eval(), "layerwise")
    )
    x = torch.rand(2, 1, 4, 4)
    output = model(x)
    (upper, lower), (top,) = deconvolutions(model)
    a1, where = F.max_pool2d(model.classifier[:4](x), 2, return_indices=True)
    a2 = model.classifier[:7](x)
    hidden = F.leaky_relu(F.conv_transpose2d(F.max_unpool2d(a1, where, 2), upper.weight, upper.bias), 0.1)
    # Nothing but normalisation stands between the convolution and pool1, so its mirror may be negative.
    torch.testing.assert_close(output.reconstructions[1], F.conv_transpose2d(a2, top.weight, top.bias))
    torch.testing.assert_close(output.reconstructions[0], F.conv_transpose2d(hidden, lower.weight, lower.bias))


def test_preprocessing_inside_the_encoder_is_passed_over():
    class Normalise(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.full((3, 1, 1), 0.5))

        def forward(self, x):
            return torch.cat([(x[:, i : i + 1] - self.mean[i]) / 0.2 for i in range(3)], 1)

    model = augment(nn.Sequential(Normalise(), plain()), "all")
    x = torch.rand(1, 3, 8, 8)
    output = model(x)
    assert output.targets[0] is x and output.reconstructions[0].shape == x.shape


def test_an_example_initialises_lazy_layers_and_leaves_the_modes():
    classifier = nn.Sequential(
        nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(3)
    )
    classifier.train()
    model = augment(classifier, example_input=torch.rand(2, 1, 8, 8))
    assert model.training and classifier[1].training and classifier[1].num_batches_tracked == 0
    assert model(torch.rand(2, 1, 8, 8)).logits.shape == (2, 3)


def test_float64_and_unusual_sizes():
    model = augment(nn.Sequential(*list(plain())[:-1]).double(), "all")
    for size in [(9, 11), (8, 15)]:
        output = model(torch.rand(1, 3, *size, dtype=torch.float64))
        assert [each.shape for each in output.reconstructions] == [each.shape for each in output.targets]


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else x


class Resizing(nn.Module):
    def forward(self, x):
        return F.interpolate(x, scale_factor=0.5)


@pytest.mark.parametrize(("classifier", "arguments", "message"), [
    (plain(), {"variant": "last"}, "augment: expected variant to be one of first, all, layerwise, got 'last'"),
    (plain(), {"switches": "soft"}, "augment: expected switches to be one of known, fixed, got 'soft'"),
    (plain(), {"from_layer": "pool3"}, "augment: expected from_layer to be 'last' or one of pool1, pool2, got 'pool3'"),
    (nn.Linear(3, 4), {}, "augment: Linear has no torch.nn.Conv2d"),
    (Branching(), {}, r"augment: Branching cannot be traced with torch.fx \(TraceError"),
    (nn.Sequential(nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), nn.Conv2d(2, 3, 3), nn.Flatten()), {},
     "augment: 1 has no mirror: .*name a from_layer below it \\(stage1\\), or write"),
    (nn.Sequential(nn.Conv2d(1, 2, 3), nn.PixelShuffle(1), nn.Conv2d(2, 3, 3)), {"from_layer": "stage2"},
     "augment: 1 has no mirror"),
    (nn.Sequential(nn.Flatten(0, 1), nn.Unflatten(0, (1, 3)), nn.Sequential(nn.PixelUnshuffle(2), nn.Flatten(), nn.Linear(1, 1))),
     {}, "no torch.nn.Conv2d"),
])  # fmt: skip
def test_what_cannot_be_mirrored_is_refused_with_a_remedy(classifier, arguments, message):
    with pytest.raises(ValueError, match=message):
        augment(classifier, **arguments)


def test_what_stands_below_an_obstacle_can_be_decoded():
    classifier = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), nn.Conv2d(2, 3, 3), nn.Flatten())
    assert augment(classifier, from_layer="stage1")(torch.rand(1, 1, 8, 8)).reconstructions[0].shape == (1, 1, 8, 8)


def test_maps_that_are_resized_are_refused_when_they_come():
    model = augment(nn.Sequential(Resizing(), *plain()))
    with pytest.raises(
        ValueError, match=r"augment: pool1 of a 16x16 map should end in 8x8, but 5 gave 4x4; something before it resizes"
    ):
        model(torch.rand(1, 3, 16, 16))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 4, 8, 8)])
def test_images_have_four_dimensions_and_the_channels_of_the_first_convolution(shape):
    with pytest.raises(ValueError, match=r"augment: expected x of shape \[N, 3, H, W\], got"):
        augment(plain())(torch.rand(*shape))


def test_only_plain_modules_are_augmented():
    with pytest.raises(TypeError, match=r"expected classifier to be a torch\.nn.Module, got function"):
        augment(lambda x: x)
    with pytest.raises(TypeError, match=r"got an AugmentedClassifier; give its \.classifier"):
        augment(augment(plain()))


def test_a_map_between_functions_is_refused():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x):
            return F.relu(self.conv(x)).mean((2, 3))

    with pytest.raises(ValueError, match=r"stage1 .* goes from function to function, where it cannot be read; pass it"):
        augment(Model())


def test_it_compiles():
    """In part: the classifier runs as it is, the decoders are compiled."""
    model = larger_weights(augment(plain(), "all"))
    x = torch.rand(1, 3, 8, 8)
    expected, found = model(x), torch.compile(model, backend="eager")(x)
    assert torch.equal(found.logits, expected.logits)
    assert all(map(torch.equal, found.reconstructions, expected.reconstructions))
    sum(each.sum() for each in found.reconstructions).backward()
    assert all(parameter.grad is not None for parameter in model.decoders.parameters())


def test_autocast():
    model = augment(plain(), "all")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(torch.rand(2, 3, 8, 8))
    assert output.logits.dtype == output.reconstructions[0].dtype == output.targets[1].dtype == torch.bfloat16
    assert output.targets[0].dtype == torch.float32


def test_channels_last_is_kept():
    model = augment(plain(), "all").to(memory_format=torch.channels_last)
    output = model(torch.rand(2, 3, 8, 8).to(memory_format=torch.channels_last))
    for each in (*output.reconstructions, *output.targets):
        assert each.is_contiguous(memory_format=torch.channels_last)


def test_the_result_says_what_it_is():
    assert "variant='all', switches='fixed', macro_layers=['pool1', 'pool2']" in repr(augment(plain(), "all", "fixed"))
    assert isinstance(wwae.augment(plain()), AugmentedClassifier)

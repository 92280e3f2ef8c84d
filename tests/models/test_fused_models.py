"""SWWAE and augmented classifiers with and without fusion: the same numbers, and what a training step keeps on a GPU."""

from __future__ import annotations

import contextlib
import copy
import inspect

import pytest
import torch
import torchvision
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import wwae
from wwae.models import SWWAE, augment
from wwae.models import unpooled_deconvolution as deconvolution
from wwae.ops import switch_pool2d, switch_unpool2d


class Called(TorchDispatchMode):
    """Names of the operations of this package that run."""

    def __init__(self):
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "wwae":
            self.names.append(func._schema.name.removeprefix("wwae::"))
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=["cpu", "in one"])
def way(request, monkeypatch):
    """A decoder's unpooling and deconvolution as on a CPU, and as on a GPU."""
    if request.param == "in one":
        names = list(inspect.signature(deconvolution.in_one).parameters)
        assert names == list(inspect.signature(deconvolution.unpooled_deconvolution).parameters)
        for module in (wwae.models.decoder, wwae.models.swwae_blocks):
            monkeypatch.setattr(module, "unpooled_deconvolution", deconvolution.in_one)
    return request.param


def tensors_of(output) -> list[torch.Tensor]:
    return [t for part in output for t in (part if isinstance(part, tuple) else (part,)) if t is not None]


def assert_alike(fused: nn.Module, plain: nn.Module, x: torch.Tensor) -> None:
    """Outputs and gradients."""
    results = []
    for model in (fused, plain):
        leaf = x.clone().requires_grad_()
        outputs = tensors_of(model(leaf))
        sum(t.sin().sum() for t in outputs).backward()
        results.append([*outputs, leaf.grad, *(p.grad for p in model.parameters())])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("kernel_size", "padding"), [(3, 1), (5, 2), ((3, 1), (2, 0))])
@pytest.mark.parametrize("relu", [False, True])
def test_a_deconvolution_of_an_unpooled_map_is_a_convolution_with_mirrored_weights(kernel_size, padding, relu):
    layer = nn.ConvTranspose2d(4, 3, kernel_size, padding=padding).double()
    values, switches = switch_pool2d(torch.randn(2, 4, 9, 12).double(), 2, ceil_mode=True)
    expected = layer(switch_unpool2d(values, switches))
    for function in (deconvolution.in_one, deconvolution.unpooled_deconvolution):
        actual = function(values, switches, layer.weight, layer.bias, layer.padding, relu)
        torch.testing.assert_close(actual, expected.relu() if relu else expected)


@pytest.mark.parametrize(
    "settings", [{}, {"batch_norm": True}, {"tied": True}, {"unpool": "upsample"}, {"pooling": "soft"}], ids=str
)
@pytest.mark.parametrize("architecture", ["(4)5c-2p-(6)3c-(5)3c-2p-7fc", "(3)2c-2p-(4)4c-2p-2p", "(4)3c-3p"])
def test_fused_swwae(way, architecture, settings):
    torch.manual_seed(0)
    fused = SWWAE(architecture, 2, 24, **settings).double()
    plain = SWWAE(architecture, 2, 24, fuse=False, **settings).double()
    assert fused.state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(fused.state_dict())
    x = torch.randn(3, 2, 24, 24, dtype=torch.float64)
    assert_alike(fused, plain, x)
    for each, other in zip(fused.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(each, other)
    with torch.no_grad():
        for unpool in ("known", "fixed", "upsample"):
            torch.testing.assert_close(fused.reconstruct(x, unpool), plain.reconstruct(x, unpool))


def test_a_hook_in_a_swwae_sees_what_its_layer_sees():
    model, x = SWWAE("(4)3c-2p-3fc", 1, 8), torch.randn(2, 1, 8, 8)
    seen = []
    for layer in (model.encoder[0], model.encoder[1], model.decoder[0], model.decoder[1].norm):
        layer.register_forward_hook(lambda _layer, inputs, _output: seen.append(inputs[0].shape[-1]))
    with Called() as called:
        model(x)
    assert seen == [8, 8, 4, 8]
    assert called.names == ["switch_pool2d", "switch_unpool2d"]


CLASSIFIERS = {
    "vgg": lambda: [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(True), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2)],
    "batch norm": lambda: [nn.Conv2d(2, 4, 5, padding=2, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2, 3)],
    "overlapping": lambda: [nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2)],
    "strided": lambda: [nn.Conv2d(2, 4, 3, 2), nn.ReLU(), nn.MaxPool2d(2)],
    "another nonlinearity": lambda: [nn.Conv2d(2, 4, 3, padding="same"), nn.Tanh(), nn.MaxPool2d(2)],
    "even kernel": lambda: [nn.Conv2d(2, 4, 4, padding="same"), nn.ReLU(), nn.MaxPool2d(2)],
    "two pools": lambda: [nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.MaxPool2d(2)],
    "nested": lambda: [nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU()), nn.MaxPool2d(2), nn.Conv2d(4, 3, 1), nn.ReLU()],
}


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("variant", ["first", "all", "layerwise"])
def test_fused_augmented_classifier(way, name, variant):
    torch.manual_seed(0)
    classifier = nn.Sequential(*CLASSIFIERS[name](), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    plain = augment(copy.deepcopy(classifier), variant, fuse=False)
    for parameter in plain.decoders.parameters():
        nn.init.normal_(parameter, std=0.5)
    fused = augment(classifier, variant)
    fused.load_state_dict(plain.state_dict())
    assert_alike(fused, plain, torch.randn(2, 2, 20, 21, dtype=torch.float64))
    assert "forward" not in vars(classifier)


def test_a_watched_layer_of_an_augmented_classifier_is_not_fused(way):
    torch.manual_seed(0)
    model = augment(nn.Sequential(*CLASSIFIERS["vgg"](), nn.Flatten()))
    seen = []
    model.classifier[2].register_forward_hook(lambda _layer, _inputs, output: seen.append(output.shape[-1]))
    model.decoders[0].deconvolutions["2"].register_forward_hook(lambda _layer, inputs, _output: seen.append(inputs[0].shape[-1]))
    with Called() as called:
        model(torch.randn(1, 2, 8, 8))
    assert seen == [8, 8]
    assert called.names == ["switch_pool2d", "switch_unpool2d"]


def kept_for_backward(forward, device: str) -> list[torch.Tensor]:
    """One tensor for each memory that autograd holds when a forward is done, parameters left out.

    Where it runs without a GPU, on meta tensors, the backward follows.
    """
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor):
        if not isinstance(tensor, nn.Parameter):
            kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = forward()
        if device == "meta":
            loss.backward()
    return list(kept.values())


@pytest.fixture(params=["meta", "cuda"])
def weightless(request):
    """Tensors made inside have shapes and no numbers."""
    with FakeTensorMode() if request.param == "cuda" else contextlib.nullcontext(), torch.device(request.param):
        yield request.param


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
def test_a_training_step_of_vgg16s_encoder_keeps_no_map_between_convolution_and_pool(weightless, layout):
    eager = torchvision.models.vgg16().features
    encoder, _ = wwae.replace_pooling(torchvision.models.vgg16().features, inplace=True)
    x = torch.empty(64, 3, 224, 224).contiguous(memory_format=layout)
    with Called() as called:
        kept = kept_for_backward(lambda: encoder(x).sum(), weightless)
    backwards = 0 if weightless == "cuda" else 5
    assert called.names == ["conv_relu_pool2d"] * 5 + ["conv_relu_pool2d_backward"] * backwards
    if backwards:
        assert all(p.grad.shape == p.shape for p in encoder.parameters())
    # A block of n convolutions keeps the n - 1 maps that the next one reads, and what it pools, with a byte a window.
    blocks = [(2, 64, 224), (2, 128, 112), (3, 256, 56), (3, 512, 28), (3, 512, 14)]
    full = [(64, channels, size, size) for convolutions, channels, size in blocks for _ in range(convolutions - 1)]
    pooled = [(64, channels, size // 2, size // 2) for _, channels, size in blocks]
    maps = [tuple(t.shape) for t in kept if t.dtype == torch.float32]
    assert sorted(maps) == sorted([tuple(x.shape), *full, *pooled])
    assert sorted(tuple(t.shape) for t in kept if t.dtype == torch.uint8) == sorted(pooled)
    assert len(maps) + len(pooled) == len(kept)
    last_maps = sum(64 * channels * size**2 * 4 for _, channels, size in blocks)
    kept_by_eager = kept_for_backward(lambda: eager(x).sum(), weightless)
    assert sum(t.nbytes for t in kept_by_eager) - sum(t.nbytes for t in kept) >= last_maps


def test_a_training_step_of_swwae_keeps_no_unpooled_map(weightless):
    model = SWWAE("(16)3c-2p-(32)3c-2p-10fc", 3, 32)

    def forward():
        output = model(torch.empty(8, 3, 32, 32))
        return output.reconstruction.sum() + output.logits.sum()

    with Called() as called:
        kept = kept_for_backward(forward, weightless)
    assert called.names[:4] == ["conv_relu_pool2d", "conv_relu_pool2d", "unpool_conv2d", "unpool_conv2d"]
    assert "switch_unpool2d" not in called.names
    if weightless == "meta":
        assert {"unpool_conv2d_weight_backward", "conv_relu_pool2d_backward"} <= set(called.names)
        assert all(p.grad.shape == p.shape for p in model.parameters())
    # Of full resolution the images alone; of the first pool's, its values, and what the upper deconvolution gives.
    large = [tuple(t.shape) for t in kept if t.dim() == 4 and t.shape[-1] >= 16 and t.is_floating_point()]
    assert sorted(large) == [(8, 3, 32, 32), (8, 16, 16, 16), (8, 16, 16, 16)]

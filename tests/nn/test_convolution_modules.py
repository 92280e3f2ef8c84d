"""``ConvReLUPool2d`` and ``UnpoolConv2d``: the layers they replace, their state dicts, and their ways through PyTorch."""

import copy
import pickle

import pytest
import torch
from torch import nn

from wwae.nn import ConvReLUPool2d, SwitchPool2d, UnpoolConv2d
from wwae.ops import switch_unpool2d

CONVOLUTIONS = [
    {"kernel_size": 3},
    {"kernel_size": (3, 1), "stride": (1, 2), "padding": (1, 0), "dilation": (1, 2), "groups": 2, "bias": False},
    {"kernel_size": 5, "padding": 2},
]
POOLS = [{"kernel_size": 2}, {"kernel_size": (3, 2), "stride": 2, "padding": 1, "ceil_mode": True}]


def as_pooling(window: dict) -> dict:
    return {name if name == "ceil_mode" else f"pool_{name}": value for name, value in window.items()}


@pytest.mark.parametrize("convolution", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("window", POOLS, ids=str)
def test_conv_relu_pool_is_the_three_layers(convolution, window):
    layers = nn.Sequential(nn.Conv2d(4, 6, **convolution), nn.ReLU(), SwitchPool2d(**window)).double()
    fused = ConvReLUPool2d(4, 6, **convolution, **as_pooling(window), dtype=torch.float64)
    fused.load_state_dict(layers[0].state_dict())
    x = torch.randn(2, 4, 12, 13, dtype=torch.float64)
    (values, switches), (expected, same) = fused(x), layers(x)
    torch.testing.assert_close(values, expected)
    assert switches == same
    values.square().sum().backward()
    expected.square().sum().backward()
    for mine, other in zip(fused.parameters(), layers.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("settings", [{"kernel_size": 3, "padding": 1}, {"kernel_size": (1, 2), "bias": False}], ids=str)
def test_unpool_conv_is_the_layers(settings, activation):
    layer = nn.Conv2d(4, 3, **settings).double()
    fused = UnpoolConv2d(4, 3, **settings, activation=activation, dtype=torch.float64)
    fused.load_state_dict(layer.state_dict())
    values, switches = SwitchPool2d(2)(torch.randn(2, 4, 9, 8, dtype=torch.float64))
    expected = layer(switch_unpool2d(values, switches))
    torch.testing.assert_close(fused(values, switches), expected if activation is None else expected.relu())


@pytest.mark.parametrize("bias", [True, False])
def test_parameters_are_those_of_conv2d(bias):
    for make in (ConvReLUPool2d, UnpoolConv2d):
        torch.manual_seed(3)
        layer = nn.Conv2d(3, 5, 3, bias=bias)
        torch.manual_seed(3)
        fused = make(3, 5, 3, bias=bias)
        assert fused.state_dict().keys() == layer.state_dict().keys()
        for mine, other in zip(fused.parameters(), layer.parameters(), strict=True):
            assert torch.equal(mine, other)
        assert not isinstance(fused, nn.Conv2d)


def test_representation_names_every_choice():
    text = repr(ConvReLUPool2d(3, 8, 3, padding=1, groups=1, pool_kernel_size=3, pool_stride=2, ceil_mode=True))
    assert text == (
        "ConvReLUPool2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), pool_kernel_size=3, pool_stride=2, "
        "pool_padding=0, pool_dilation=1, ceil_mode=True)"
    )
    text = repr(UnpoolConv2d(3, 8, 3, bias=False, activation="relu"))
    assert text == "UnpoolConv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), bias=False, activation='relu')"


class Coder(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = ConvReLUPool2d(2, 4, 3, padding=1), UnpoolConv2d(4, 2, 3, padding=1)

    def forward(self, x):
        values, switches = self.down(x)
        return self.up(values, switches)


def test_copies_pickles_traces_and_compiled_modules_agree():
    model, x = Coder(), torch.randn(2, 2, 9, 10)
    expected = model(x)
    torch.compiler.reset()
    for other in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.fx.symbolic_trace(model),
        torch.compile(model, fullgraph=True, backend="aot_eager"),
        torch.export.export(model, (x,)).module(),
    ):
        torch.testing.assert_close(other(x), expected)


def test_low_precision_channels_last_and_unbatched():
    model = Coder().to(torch.bfloat16, memory_format=torch.channels_last)
    x = torch.randn(2, 2, 8, 8).bfloat16().contiguous(memory_format=torch.channels_last)
    y = model(x)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(model(x[0]), y[0])


def test_bad_arguments():
    with pytest.raises(ValueError, match="UnpoolConv2d: expected activation to be None or 'relu', got 'tanh'"):
        UnpoolConv2d(1, 1, 1, activation="tanh")
    with pytest.raises(ValueError, match="in_channels must be divisible by groups"):
        ConvReLUPool2d(3, 4, 3, groups=2)
    with pytest.raises(RuntimeError, match="conv_relu_pool2d: expected weight of shape"):
        ConvReLUPool2d(3, 4, 3)(torch.randn(1, 2, 8, 8))
    with pytest.raises(RuntimeError, match="conv_relu_pool2d: Output size is too small"):
        ConvReLUPool2d(3, 4, 3, pool_kernel_size=7)(torch.randn(1, 3, 8, 8))

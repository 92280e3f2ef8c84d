"""The fused module beside the three layers that it stands for."""

import copy
import pickle

import pytest
import torch
from torch import nn

import wwae
from wwae.nn import BatchNormReLUPool2d


def chain_like(layer: BatchNormReLUPool2d, **norm) -> tuple[nn.BatchNorm2d, nn.Sequential]:
    first = nn.BatchNorm2d(layer.num_features, **norm)
    first.load_state_dict(layer.state_dict())
    pool = nn.MaxPool2d(layer.kernel_size, layer.stride, layer.padding, layer.dilation, ceil_mode=layer.ceil_mode)
    return first, nn.Sequential(first, nn.ReLU(), pool)


NORMS = [
    {},
    {"momentum": None},
    {"momentum": 0.3, "eps": 1e-2},
    {"track_running_stats": False},
    {"affine": False},
    {"momentum": None, "affine": False, "track_running_stats": False},
]


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_trains_and_evaluates_as_the_chain(norm):
    layer = BatchNormReLUPool2d(4, 3, 2, 1, **norm)
    if layer.affine:
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
    first, chain = chain_like(layer, **norm)
    for module in (layer, chain):
        module.train()
    for number in range(6):
        if number == 4:
            layer.eval()
            chain.eval()
        x = torch.randn(3, 4, 9, 8) * (number + 1) + number
        mine, other = x.clone().requires_grad_(), x.clone().requires_grad_()
        values, switches = layer(mine)
        expected = chain(other)
        torch.testing.assert_close(values, expected)
        assert switches.input_size == (9, 8)
        values.square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-4)
        assert layer.state_dict().keys() == first.state_dict().keys()
        for name, buffer in layer.state_dict().items():
            torch.testing.assert_close(buffer, first.state_dict()[name], rtol=1e-6, atol=1e-6)
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(parameter.grad, first.get_parameter(name).grad, rtol=1e-4, atol=1e-3)


def test_state_dicts_go_both_ways():
    layer, norm = BatchNormReLUPool2d(3, 2), nn.BatchNorm2d(3)
    assert list(layer.state_dict()) == list(norm.state_dict())
    norm(torch.randn(2, 3, 4, 4))
    layer.load_state_dict(norm.state_dict())
    norm.load_state_dict(layer.state_dict())
    # As a layer of PyTorch does, it takes a file from before batches were counted.
    old = {name: t for name, t in norm.state_dict().items() if name != "num_batches_tracked"}
    layer.load_state_dict(old)


def test_travels_like_a_module():
    layer = BatchNormReLUPool2d(3, 2, dtype=torch.float64)
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x)[0], copy.deepcopy(layer)(x)[0])
    assert repr(layer) == (
        "BatchNormReLUPool2d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True, kernel_size=2, stride=2, "
        "padding=0, dilation=1, ceil_mode=False)"
    ) or "bias=" in repr(layer)  # newer releases of PyTorch print that too
    assert layer.half().weight.dtype == torch.float16


def test_sync_batch_norm_conversion_leaves_it_alone():
    model = nn.Sequential(nn.BatchNorm2d(3), BatchNormReLUPool2d(3, 2))
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert isinstance(converted[0], nn.SyncBatchNorm)
    assert isinstance(converted[1], BatchNormReLUPool2d)


@pytest.mark.parametrize("train", [True, False])
def test_compiles_and_keeps_its_statistics(train):
    torch.compiler.reset()
    layer = BatchNormReLUPool2d(3, 2).train(train)
    other = copy.deepcopy(layer)
    compiled = torch.compile(lambda x: layer(x)[0], fullgraph=True, dynamic=True, backend="aot_eager")
    for shape in ((2, 3, 8, 8), (4, 3, 10, 6)):
        x = torch.randn(shape)
        assert torch.equal(compiled(x), other(x)[0])
        for a, b in zip(layer.state_dict().values(), other.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b)


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = BatchNormReLUPool2d(3, 3, 2, 1)
        self.bias = nn.Parameter(torch.randn(3))

    def forward(self, x):
        values, switches = self.norm(x)
        biased, _ = wwae.ops.bias_relu_pool2d(x, self.bias, 2)
        return values, switches.offsets, biased


def test_exports_with_dynamic_sizes(tmp_path):
    batch, height, width = (torch.export.Dim(name, min=4, max=64) for name in ("batch", "height", "width"))
    model = Pooled().eval()
    program = torch.export.export(model, (torch.randn(4, 3, 12, 16),), dynamic_shapes={"x": {0: batch, 2: height, 3: width}})
    torch.export.save(program, tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    x = torch.randn(5, 3, 21, 9)
    for actual, expected in zip(loaded(x), model(x), strict=True):
        assert torch.equal(actual, expected)


def test_unpools_by_its_switches():
    values, switches = BatchNormReLUPool2d(3, 2)(torch.randn(2, 3, 6, 6))
    assert wwae.nn.SwitchUnpool2d()(values, switches).shape == (2, 3, 6, 6)

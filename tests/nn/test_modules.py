"""The modules: what a user sees of them, and that they run the operations of their names."""

import copy
import doctest
import importlib
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import wwae
from wwae.ops import Switches

POOLS = [
    ((2,), {}),
    ((3, 2, 1), {"ceil_mode": True}),
    (((3, 2),), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "return_indices": True}),
]
UNPOOLS = [((2,), {}), (((3, 2), (2, 1)), {"padding": (1, 0)})]
MODULES = [
    "batch_norm_relu_pool2d",
    "fixed_unpool2d",
    "max_pool2d",
    "max_unpool2d",
    "replace_pooling",
    "soft_argmax_pool2d",
    "soft_argmax_unpool2d",
    "switch_pool2d",
    "switch_unpool2d",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_the_docstrings(name):
    module = importlib.import_module(f"wwae.nn.{name}")
    results = doctest.testmod(module, extraglobs={"torch": torch, "wwae": wwae})
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize(
    ("ours", "theirs", "arguments"),
    [(wwae.nn.MaxPool2d, nn.MaxPool2d, a) for a in POOLS] + [(wwae.nn.MaxUnpool2d, nn.MaxUnpool2d, a) for a in UNPOOLS],
)
def test_drop_ins_look_like_pytorchs(ours, theirs, arguments):
    args, kwargs = arguments
    a, b = ours(*args, **kwargs), theirs(*args, **kwargs)
    assert isinstance(a, theirs)
    assert repr(a) == repr(b)
    assert a.state_dict() == b.state_dict() == {}
    assert vars(a).keys() == vars(b).keys()
    for copied in (copy.deepcopy(a), pickle.loads(pickle.dumps(a))):
        assert type(copied) is ours
        assert repr(copied) == repr(b)
    with pytest.raises(TypeError):
        ours()
    with pytest.raises(TypeError):
        theirs()


def test_attributes_set_after_construction_count():
    pool = wwae.nn.MaxPool2d(2)
    pool.kernel_size, pool.stride, pool.padding, pool.return_indices = 3, 1, 1, True
    x = torch.randn(1, 2, 5, 5)
    expected = F.max_pool2d(x, 3, 1, 1, return_indices=True)
    assert all(torch.equal(a, b) for a, b in zip(pool(x), expected, strict=True))


@pytest.mark.parametrize(
    ("arguments", "x"),
    [
        ((2,), torch.randn(4, 4)),
        ((2,), torch.randn(1, 2, 0, 4)),
        ((0,), torch.randn(1, 2, 4, 4)),
        ((2, 0), torch.randn(1, 2, 4, 4)),
        ((2, 1, 2), torch.randn(1, 2, 4, 4)),
        ((2, 1, -1), torch.randn(1, 2, 4, 4)),
        ((2, 1, 0, 0), torch.randn(1, 2, 4, 4)),
        ((5,), torch.randn(1, 2, 4, 4)),
        (((1, 2, 3),), torch.randn(1, 2, 4, 4)),
        ((2.5,), torch.randn(1, 2, 4, 4)),
        (("2",), torch.randn(1, 2, 4, 4)),
        ((2,), None),
        ((2,), torch.randn(1, 2, 4, 4).bool()),
    ],
)
def test_max_pool2d_raises_the_class_that_pytorch_raises(arguments, x):
    with pytest.raises((TypeError, RuntimeError, ValueError)) as theirs:
        nn.MaxPool2d(*arguments)(x)
    with pytest.raises(type(theirs.value)) as ours:
        wwae.nn.MaxPool2d(*arguments)(x)
    assert type(ours.value) is type(theirs.value)


VALUES = torch.randn(1, 2, 2, 2)
INDICES = torch.tensor([0, 2, 8, 10]).reshape(1, 1, 2, 2).expand(1, 2, 2, 2).contiguous()


@pytest.mark.parametrize(
    ("x", "indices", "output_size"),
    [
        (VALUES[0, 0], INDICES[0, 0], None),
        (VALUES, INDICES.int(), None),
        (VALUES, INDICES[..., :1], None),
        (VALUES, INDICES - 1, None),
        (VALUES, INDICES + 6, None),
        (VALUES, None, None),
        (VALUES, INDICES, (4, 6)),
        (VALUES, INDICES, (1, 2, 4)),
        (VALUES, INDICES, (4.0, 4.0)),
        (VALUES[:, :0], INDICES[:, :0], None),
    ],
)
def test_max_unpool2d_raises_the_class_that_pytorch_raises(x, indices, output_size):
    with pytest.raises((TypeError, RuntimeError, ValueError)) as theirs:
        nn.MaxUnpool2d(2)(x, indices, output_size)
    with pytest.raises(type(theirs.value)) as ours:
        wwae.nn.MaxUnpool2d(2)(x, indices, output_size)
    assert type(ours.value) is type(theirs.value)


def test_an_index_outside_the_map_is_named():
    with pytest.raises(RuntimeError, match=r"invalid max index:? 16 \(output volumes are of size 4x4\)"):
        wwae.nn.MaxUnpool2d(2)(VALUES, INDICES + 6)


def test_max_unpool2d_takes_switches_and_knows_their_size():
    x = torch.randn(2, 3, 7, 9)
    values, switches = wwae.nn.SwitchPool2d(2)(x)
    unpool = wwae.nn.MaxUnpool2d(2)
    indices = F.max_pool2d(x, 2, return_indices=True)[1]
    expected = F.max_unpool2d(values, indices, 2, output_size=x.size())
    for output_size in (None, (7, 9), [7, 9], x.size(), x.shape[-2:]):
        assert torch.equal(unpool(values, switches, output_size), expected)
    for output_size in ((6, 8), (7, 8), torch.Size((2, 3, 9, 7))):
        with pytest.raises(ValueError, match=r"expected output_size \(7, 9\)"):
            unpool(values, switches, output_size)
    with pytest.raises(RuntimeError, match=r"switches were recorded for \(2, 3, 3, 4\) but x has shape \(2, 3, 3, 3\)"):
        unpool(values[..., :3], switches)


@pytest.mark.parametrize("arguments", [(2,), (3, 2, 1), ((3, 2), (2, 1), (1, 0), (1, 2), True)])
def test_switch_pool2d(arguments):
    x = torch.randn(2, 3, 9, 11)
    pool = wwae.nn.SwitchPool2d(*arguments)
    values, switches = pool(x)
    ceil_mode = len(arguments) == 5
    expected, indices = F.max_pool2d(x, *arguments[:4], ceil_mode=ceil_mode, return_indices=True)
    assert torch.equal(values, expected)
    assert isinstance(switches, Switches)
    assert torch.equal(switches.indices(), indices)
    assert repr(pool) == repr(nn.MaxPool2d(*arguments[:4], ceil_mode=ceil_mode)).replace("MaxPool2d", "SwitchPool2d")


def test_switch_unpool2d():
    x = torch.randn(1, 2, 5, 5)
    values, switches = wwae.nn.SwitchPool2d(3, 1)(x)
    for overlap in ("last", "sum", "mean"):
        unpool = wwae.nn.SwitchUnpool2d(overlap)
        assert torch.equal(unpool(values, switches, output_size=(5, 5)), wwae.ops.switch_unpool2d(values, switches, None, overlap))
        assert repr(unpool) == f"SwitchUnpool2d(overlap={overlap!r})"
    with pytest.raises(ValueError, match=r"SwitchUnpool2d: expected overlap to be one of 'last', 'sum', 'mean', got 'first'"):
        wwae.nn.SwitchUnpool2d("first")
    with pytest.raises(TypeError, match=r"expected switches to be the Switches of a pooling, got Tensor"):
        wwae.nn.SwitchUnpool2d()(values, switches.indices())


def test_fixed_unpool2d():
    x = torch.randn(1, 2, 3, 3)
    unpool = wwae.nn.FixedUnpool2d((3, 2), position=(0, 1))
    assert torch.equal(unpool(x, (9, 6)), wwae.ops.fixed_unpool2d(x, (3, 2), None, (9, 6), (0, 1)))
    assert repr(unpool) == "FixedUnpool2d(kernel_size=(3, 2), stride=(3, 2), position=(0, 1))"
    assert wwae.nn.FixedUnpool2d(2)(x)[0, 0, 1, 1] == x[0, 0, 0, 0]
    with pytest.raises(ValueError, match="expected position inside the window"):
        wwae.nn.FixedUnpool2d(2, position=2)(x)


class Model(nn.Module):
    """All five modules and a convolution."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)
        self.pool, self.unpool = wwae.nn.MaxPool2d(2, return_indices=True), wwae.nn.MaxUnpool2d(2)
        self.switch_pool, self.switch_unpool = wwae.nn.SwitchPool2d(3, 2, 1), wwae.nn.SwitchUnpool2d("mean")
        self.fixed = wwae.nn.FixedUnpool2d(2)

    def forward(self, x):
        x = self.convolution(x)
        values, indices = self.pool(x)
        whats, switches = self.switch_pool(x)
        return self.unpool(values, indices) + self.switch_unpool(whats, switches) + self.fixed(values)


def test_a_symbolic_trace_keeps_the_operations():
    model = Model()
    traced = torch.fx.symbolic_trace(model)
    called = {node.target for node in traced.graph.nodes if node.op == "call_function"}
    assert {wwae.ops.max_pool2d, wwae.ops.switch_pool2d, wwae.ops.switch_unpool2d, wwae.ops.fixed_unpool2d} <= called
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(traced(x), model(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_dtype_and_memory_format_pass_through(dtype):
    model = Model().to(dtype)
    x = torch.randn(2, 3, 8, 8, dtype=dtype)
    y = model(x)
    last = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert y.dtype == last.dtype == dtype
    assert y.is_contiguous()
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, last)


def test_autocast():
    model, x = Model(), torch.randn(2, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert model.convolution.weight.grad.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        mixed = wwae.nn.MaxPool2d(2)(x)
        assert mixed.dtype == nn.MaxPool2d(2)(x).dtype == torch.float32


def test_functional_call_and_gradients_of_a_function():
    model, x = Model(), torch.randn(2, 3, 8, 8)
    parameters = {name: parameter.detach() * 2 for name, parameter in model.named_parameters()}

    def loss(parameters, x):
        return torch.func.functional_call(model, parameters, (x,)).square().sum()

    twice = copy.deepcopy(model)
    twice.load_state_dict(parameters)
    assert torch.equal(loss(parameters, x), twice(x).square().sum())
    gradients = torch.func.grad(loss)(parameters, x)
    expected = torch.autograd.grad(twice(x).square().sum(), list(twice.parameters()))
    for a, b in zip(gradients.values(), expected, strict=True):
        torch.testing.assert_close(a, b)
    per_image = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x.unsqueeze(1))
    for a, b in zip(per_image.values(), expected, strict=True):
        torch.testing.assert_close(a.sum(0), b)


def test_activation_checkpointing_through_switches():
    model, x = Model(), torch.randn(2, 3, 8, 8, requires_grad=True)
    (expected,) = torch.autograd.grad(model(x).square().sum(), x)
    _, switches = torch.utils.checkpoint.checkpoint(model.switch_pool, model.convolution(x), use_reentrant=False)
    assert isinstance(switches, Switches)
    y = torch.utils.checkpoint.checkpoint(model, x, use_reentrant=False)
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    assert torch.equal(gradient, expected)

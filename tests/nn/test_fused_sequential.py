"""replace_pooling(fuse=True): which chains run in one pass, that numbers stay, and that single layers still mean what they say."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
import torchvision
from nn.paired import entry
from torch import nn

import wwae
from wwae.nn import FusedSequential, MaxPool2d, SwitchPool2d


def convolution_chain() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 2, 1))


def norm_chain(**norm) -> nn.Sequential:
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, **norm), nn.ReLU(), nn.MaxPool2d(3, 2, 1, ceil_mode=True)
    )
    if layers[1].affine:
        nn.init.normal_(layers[1].weight)
        nn.init.normal_(layers[1].bias)
    return layers


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(4, 3, 13, 14, generator=torch.Generator().manual_seed(0))


def assert_like(after: nn.Module, before: nn.Module, x: torch.Tensor) -> None:
    """Values, gradients and buffers agree, in float64: a gradient that is nothing but rounding can't be compared."""
    results = []
    for model in (after.double(), before.double()):
        leaf = x.double().requires_grad_()
        y = model(leaf)
        y.square().sum().backward()
        results.append([y, leaf.grad, *(p.grad for p in model.parameters()), *model.buffers()])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)
    assert after.state_dict().keys() == before.state_dict().keys()


@pytest.fixture
def passes(monkeypatch) -> list[str]:
    """Names of the one-pass operations that run."""
    seen: list[str] = []
    for module, name in (
        (wwae.nn.fused_sequential, "bias_relu_pool2d"),
        (wwae.nn.fused_sequential, "conv_relu_pool2d"),
        (wwae.nn.batch_norm_relu_pool2d, "batch_norm_relu_pool2d"),
    ):
        operation = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, _run=operation, _name=name: (seen.append(_name), _run(*a))[1])
    return seen


@pytest.mark.parametrize("training", [True, False])
def test_convolution_relu_pool(x, passes, training):
    torch.manual_seed(0)
    before = convolution_chain().train(training)
    after, report = wwae.replace_pooling(before)
    assert type(after) is FusedSequential
    assert [type(layer) for layer in after] == [nn.Conv2d, nn.ReLU, MaxPool2d, nn.Conv2d]
    assert entry(report, "2").fusion.endswith("fused: runs in one pass with 0 and 1")
    assert_like(after, before, x)
    assert passes == ["conv_relu_pool2d"]
    assert repr(after) == repr(before)


@pytest.mark.parametrize(
    ("settings", "operation"),
    [
        ({"bias": False}, "conv_relu_pool2d"),
        ({"padding": "valid"}, "conv_relu_pool2d"),
        ({"padding": "same", "dilation": (2, 1)}, "conv_relu_pool2d"),
        ({"stride": (1, 2), "padding": (0, 2), "dilation": 2, "groups": 3, "out_channels": 6}, "conv_relu_pool2d"),
        ({"padding": "same", "kernel_size": (3, 2)}, "bias_relu_pool2d"),  # one more zero at the right
        ({"padding": 1, "padding_mode": "reflect"}, "bias_relu_pool2d"),
    ],
    ids=str,
)
def test_every_kind_of_convolution(x, passes, settings, operation):
    torch.manual_seed(0)
    before = nn.Sequential(
        nn.Conv2d(**({"in_channels": 3, "out_channels": 4, "kernel_size": 3} | settings)), nn.ReLU(), nn.MaxPool2d(2)
    )
    after, _ = wwae.replace_pooling(before)
    assert_like(after, before, x)
    assert passes == [operation]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "norm", [{}, {"momentum": None}, {"track_running_stats": False}, {"affine": False}, {"eps": 0.1, "momentum": 0.3}], ids=str
)
def test_norm_relu_pool(x, passes, norm, training):
    torch.manual_seed(0)
    before = norm_chain(**norm).train(training)
    after, report = wwae.replace_pooling(before)
    assert entry(report, "3").fusion.endswith("fused: runs in one pass with 1 and 2")
    for batch in (x, 2 * x + 1):
        assert_like(after, before, batch)
    assert passes == ["batch_norm_relu_pool2d"] * 2


def test_without_fuse_no_chain_runs_in_one_pass(x, passes):
    before = convolution_chain()
    after, report = wwae.replace_pooling(before, fuse=False)
    assert type(after) is nn.Sequential
    assert "fused" not in str(report)
    assert torch.equal(after(x), before(x))
    assert passes == []


def test_chains_across_sequentials(x, passes):
    before = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())), nn.MaxPool2d(2))
    after, report = wwae.replace_pooling(before)
    assert entry(report, "1").fusion.endswith("fused: runs in one pass with 0.1.0 and 0.1.1")
    assert_like(after, before, x)
    assert passes == ["batch_norm_relu_pool2d"]


def test_every_slice_computes_what_its_layers_say(x):
    torch.manual_seed(0)
    before = nn.Sequential(*convolution_chain(), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2)).eval()
    after, _ = wwae.replace_pooling(before)
    for start in range(len(before)):
        for stop in range(start + 1, len(before) + 1):
            data = before[:start](x)
            torch.testing.assert_close(after[start:stop](data.clone()), before[start:stop](data.clone()))
    y, z = x.clone(), x.clone()
    for layer, original in zip(after, before, strict=True):  # layer by layer, as perceptual losses do
        y, z = layer(y), original(z)
        torch.testing.assert_close(y, z)


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"])
@pytest.mark.parametrize("watched", [0, 1, 2])
@pytest.mark.parametrize("late", [False, True], ids=["before the swap", "after it"])
def test_hooks_see_the_maps_of_their_layer(x, passes, register, watched, late):
    torch.manual_seed(0)
    before = convolution_chain()
    before[1].inplace = False
    seen: list[torch.Tensor] = []

    def watch(model):
        getattr(model[watched], register)(lambda _layer, *values: seen.extend(v[0] if isinstance(v, tuple) else v for v in values))

    if not late:
        watch(before)
    after, report = wwae.replace_pooling(before)
    if late:
        watch(before)
        watch(after)
    else:
        assert "not fused: a hook sees the maps of " in entry(report, "2").fusion
    after(x).sum().backward()
    actual = seen[:]
    seen.clear()
    before(x).sum().backward()
    assert len(actual) == len(seen) > 0
    for mine, theirs in zip(actual, seen, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert passes == []


def test_a_map_that_forward_uses_again_is_left_alone(x, passes):
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.relu, self.pool = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2)

        def forward(self, x):
            skip = self.relu(self.convolution(x))
            return self.pool(skip), skip

    after, report = wwae.replace_pooling(Skip())
    assert entry(report, "pool").fusion.endswith(
        "not fused: no torch.nn.Sequential runs it, but a forward that may use the maps before it"
    )
    after(x)
    assert passes == []


def test_what_keeps_a_pool_from_being_fused():
    class Own(nn.Conv2d):
        pass

    reasons = {
        "int64 indices": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2, return_indices=True)),
        "torch.nn.Conv2d and torch.nn.ReLU before it": nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect", bias=False), nn.ReLU(), nn.MaxPool2d(2)
        ),
        "torch.nn.Conv2d and torch.nn.SiLU before it": nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.MaxPool2d(2)),
        "Own and torch.nn.ReLU before it": nn.Sequential(Own(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2)),
        "nothing before it": nn.Sequential(nn.MaxPool2d(2), nn.Identity()),
    }
    for reason, model in reasons.items():
        after, report = wwae.replace_pooling(model)
        assert type(after) is nn.Sequential
        assert report.entries[0].fusion.startswith("not fused: ")
        assert report.entries[0].fusion.endswith(reason)


def test_switches_come_out_of_a_fused_chain(x, passes):
    class Coder(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2, return_indices=True))
            self.up = nn.MaxUnpool2d(2)

        def forward(self, x):
            values, indices = self.down(x)
            return self.up(values, indices)

    torch.manual_seed(0)
    before = Coder()
    after, report = wwae.replace_pooling(before)
    assert type(after.down[3]) is SwitchPool2d
    assert entry(report, "down.3").fusion.endswith("fused: runs in one pass with down.1 and down.2")
    assert_like(after, before, x[..., :12, :12])
    assert passes == ["batch_norm_relu_pool2d"]


def test_an_exchanged_layer_is_not_passed_over(x, passes):
    model, _ = wwae.replace_pooling(norm_chain().eval())
    model[1] = nn.Identity()
    torch.testing.assert_close(model(x), F.max_pool2d(F.relu(model[0](x)), 3, 2, 1, ceil_mode=True))
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(wwae.replace_pooling(norm_chain())[0])
    assert type(synchronised[1]) is nn.SyncBatchNorm
    assert passes == []


def test_copies_pickles_and_a_second_swap(x, passes):
    once, _ = wwae.replace_pooling(convolution_chain())
    buffer = io.BytesIO()
    torch.save(once, buffer)
    buffer.seek(0)
    twice, _ = wwae.replace_pooling(once)
    for model in (copy.deepcopy(once), torch.load(buffer, weights_only=False), twice):
        assert torch.equal(model(x), once(x))
    assert passes == ["conv_relu_pool2d"] * 6


@pytest.mark.parametrize("chain", [convolution_chain, norm_chain])
def test_compiled_traced_and_under_autocast(x, chain):
    torch.manual_seed(0)
    before = chain().eval()
    after, _ = wwae.replace_pooling(before)
    torch.testing.assert_close(torch.compile(after, fullgraph=True, backend="aot_eager")(x), before(x))
    torch.testing.assert_close(torch.fx.symbolic_trace(after)(x), before(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(after(x), before(x), rtol=0.05, atol=0.05)


FUSED = {"alexnet": 3, "vgg16": 5, "vgg16_bn": 5, "densenet121": 1, "squeezenet1_1": 1, "googlenet": 0, "resnet18": 0}


@pytest.mark.parametrize("name", FUSED)
def test_torchvision(name, passes):
    torch.manual_seed(0)
    arguments = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    before = torchvision.models.get_model(name, weights=None, **arguments).eval()
    after, report = wwae.replace_pooling(before)
    assert sum(e.fusion.startswith("fused: ") for e in report.entries) == FUSED[name]
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(after(x), before(x), rtol=1e-4, atol=1e-5)
    assert len(passes) == FUSED[name]


def kept_bytes(block: nn.Module, x: torch.Tensor) -> tuple[int, torch.Tensor]:
    """Bytes that ReLU and pool of a block keep for backward, without its input, its parameters and its result."""
    kept: dict[int, int] = {}
    x = x.detach().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.update({t.data_ptr(): t.nbytes}), t)[1], lambda t: t):
        y = block(x)
    for tensor in (x, y, *block.parameters()):
        kept.pop(tensor.data_ptr(), None)
    return sum(kept.values()), y


def test_a_tenth_is_kept_for_backward_over_the_encoder_of_vgg16():
    torch.manual_seed(0)
    before = torchvision.models.vgg16(init_weights=False).features
    after, _ = wwae.replace_pooling(before)
    x = torch.randn(4, 3, 64, 64)
    totals = [0, 0]
    start = 0
    for stop in (index + 1 for index, layer in enumerate(before) if isinstance(layer, nn.MaxPool2d)):
        x = before[start : stop - 3](x)
        eager, result = kept_bytes(before[stop - 3 : stop], x)
        ours, _ = kept_bytes(after[stop - 3 : stop], x)
        totals = [totals[0] + eager, totals[1] + ours]
        x, start = result, stop
    assert start == 31
    assert 0 < totals[1] <= totals[0] / 10

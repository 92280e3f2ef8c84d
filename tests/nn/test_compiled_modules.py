"""The modules through torch.compile and torch.export, and switches on their way in, out and to disk."""

import pytest
import torch
from torch import nn

import wwae
from wwae.ops import Switches


class PoolUnpool(nn.Module):
    """All five modules: unpooling with switches, and the drop-ins on a map whose sizes are even."""

    def __init__(self):
        super().__init__()
        self.switch_pool, self.switch_unpool = wwae.nn.SwitchPool2d(3, 2, 1), wwae.nn.SwitchUnpool2d("sum")
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.fixed = wwae.nn.FixedUnpool2d(2)
        self.pool, self.unpool = wwae.nn.MaxPool2d(2, return_indices=True), wwae.nn.MaxUnpool2d(2)

    def forward(self, x):
        values, switches = self.switch_pool(x)
        values = self.convolution(values)
        pooled, indices = self.pool(self.fixed(values))
        return self.switch_unpool(values, switches), self.unpool(pooled, indices)


def assert_compiled_equals_eager(model, compiled, x):
    """Outputs and gradients; a convolution may sum in another order."""
    results = []
    for function in (compiled, model):
        image = x.clone().requires_grad_()
        for dimension in (0, 2, 3):
            torch._dynamo.mark_dynamic(image, dimension)
        outputs = function(image)
        loss = sum(output.square().sum() for output in outputs)
        results.append([*outputs, *torch.autograd.grad(loss, [image, *model.parameters()])])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


def test_modules_compile_once_and_without_a_break_for_all_sizes():
    torch.compiler.reset()
    model = PoolUnpool()
    with torch._dynamo.config.patch(error_on_recompile=True):
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        for shape in ((2, 3, 8, 12), (3, 3, 9, 14), (5, 3, 17, 7)):
            assert_compiled_equals_eager(model, compiled, torch.randn(shape))


@pytest.mark.slow
def test_modules_compile_with_inductor():
    torch.compiler.reset()
    model = PoolUnpool()
    assert_compiled_equals_eager(model, torch.compile(model, fullgraph=True), torch.randn(2, 3, 9, 12))


def test_channels_last_through_a_compiled_module():
    torch.compiler.reset()
    model = PoolUnpool().to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for found, expected in zip(compiled(x), model(x), strict=True):
        assert torch.equal(found, expected)
        assert found.stride() == expected.stride()
        assert found.is_contiguous(memory_format=torch.channels_last)


def test_switches_leave_and_enter_compiled_functions():
    torch.compiler.reset()
    pool, unpool = wwae.nn.SwitchPool2d(3, 2, 1), wwae.nn.MaxUnpool2d(3, 2, 1)
    compiled_pool = torch.compile(pool, fullgraph=True, backend="aot_eager")
    compiled_unpool = torch.compile(unpool, fullgraph=True, backend="aot_eager")
    for shape in ((1, 2, 8, 8), (2, 4, 11, 6), (3, 2, 7, 9)):
        x = torch.randn(shape, requires_grad=True)
        values, switches = compiled_pool(x)
        expected, expected_switches = pool(x)
        assert isinstance(switches, Switches)
        assert switches == expected_switches
        assert all(type(size) is int for size in switches.input_size)
        y = compiled_unpool(values, switches)
        assert torch.equal(y, unpool(expected, expected_switches))
        assert torch.equal(y, compiled_unpool(values, switches, x.shape))
        (found,) = torch.autograd.grad(y.square().sum(), x, retain_graph=True)
        (wanted,) = torch.autograd.grad(unpool(expected, expected_switches).square().sum(), x)
        assert torch.equal(found, wanted)


class Pair(nn.Module):
    """PyTorch's pair with an output size, which export takes only for even sizes, and with switches for all."""

    def __init__(self):
        super().__init__()
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)

    def forward(self, x):
        values, indices = self.pool(x)
        return self.unpool(values, indices, output_size=x.size())


def test_a_swapped_model_compiles():
    torch.compiler.reset()
    model, report = wwae.replace_pooling(Pair())
    assert report.entries[0].after == "wwae.nn.SwitchPool2d"
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for shape in ((1, 2, 8, 8), (2, 2, 9, 13), (3, 2, 12, 5)):
        x = torch.randn(shape)
        assert torch.equal(compiled(x), Pair()(x))


def test_a_swapped_model_is_exported_with_dynamic_sizes_and_survives_saving(tmp_path):
    model, _ = wwae.replace_pooling(Pair())
    height, width = torch.export.Dim("height", min=4, max=512), torch.export.Dim("width", min=4, max=512)
    program = torch.export.export(model, (torch.randn(2, 3, 8, 12),), dynamic_shapes=({2: height, 3: width},))
    torch.export.save(program, tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    for size in ((8, 12), (9, 31), (40, 5)):
        x = torch.randn(2, 3, *size)
        assert torch.equal(program.module()(x), Pair()(x))
        assert torch.equal(loaded(x), Pair()(x))


def test_all_modules_are_exported_with_dynamic_sizes(tmp_path):
    model = PoolUnpool().eval()
    height, width = torch.export.Dim("height", min=6, max=512), torch.export.Dim("width", min=6, max=512)
    program = torch.export.export(model, (torch.randn(2, 3, 8, 12),), dynamic_shapes=({2: height, 3: width},))
    torch.export.save(program, tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    for size in ((8, 12), (9, 31), (40, 6)):
        x = torch.randn(2, 3, *size)
        for found, expected in zip(loaded(x), model(x), strict=True):
            assert torch.equal(found, expected)


def test_exported_pool_hands_switches_to_an_exported_unpool(tmp_path):
    pool, unpool = wwae.nn.SwitchPool2d(2), wwae.nn.SwitchUnpool2d()
    height, width = torch.export.Dim("height", min=4, max=512), torch.export.Dim("width", min=4, max=512)
    program = torch.export.export(pool, (torch.randn(2, 3, 8, 12),), dynamic_shapes=({2: height, 3: width},))
    torch.export.save(program, tmp_path / "pool.pt2")
    exported = torch.export.load(tmp_path / "pool.pt2").module()
    x = torch.randn(2, 3, 9, 13)
    values, switches = exported(x)
    assert isinstance(switches, Switches)
    assert switches == pool(x)[1]
    back = torch.export.export(unpool, (values, switches))
    torch.export.save(back, tmp_path / "unpool.pt2")
    assert torch.equal(torch.export.load(tmp_path / "unpool.pt2").module()(values, switches), unpool(values, switches))


def test_switches_are_saved_and_loaded_as_weights_only(tmp_path):
    _, switches = wwae.nn.SwitchPool2d(3, 2, 1)(torch.randn(2, 3, 9, 8))
    torch.save({"where": [switches]}, tmp_path / "switches.pt")
    loaded = torch.load(tmp_path / "switches.pt", weights_only=True)["where"][0]
    assert loaded == switches
    assert loaded.input_size == (9, 8)


def test_switches_are_a_tree_of_their_offsets():
    values, switches = wwae.nn.SwitchPool2d(2)(torch.randn(1, 2, 6, 6))
    leaves, structure = torch.utils._pytree.tree_flatten((values, switches))
    assert [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)][1] is switches.offsets
    assert torch.utils._pytree.tree_unflatten(leaves, structure)[1] == switches
    moved = torch.utils._pytree.tree_map_only(torch.Tensor, lambda tensor: tensor + 0, switches)
    assert moved == switches
    assert moved.offsets is not switches.offsets


def test_hooks_see_and_may_exchange_switches():
    pool, unpool = wwae.nn.SwitchPool2d(2), wwae.nn.SwitchUnpool2d()
    seen = []
    pool.register_forward_hook(lambda module, inputs, output: seen.append(output[1]))
    unpool.register_forward_pre_hook(lambda module, inputs: (inputs[0], inputs[1].detach()))
    x = torch.randn(1, 2, 6, 6, requires_grad=True)
    values, switches = pool(x)
    assert seen == [switches]
    assert torch.equal(unpool(values, switches), wwae.ops.switch_unpool2d(values, switches))
    backward = []
    pool.register_full_backward_hook(lambda module, inputs, outputs: backward.append((inputs, outputs)))
    pool(x)[0].sum().backward()
    (((gradient,), (of_values, of_switches)),) = backward
    assert torch.equal(gradient, x.grad)
    assert of_values.shape == values.shape
    assert of_switches is None

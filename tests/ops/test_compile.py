"""torch.compile without graph breaks, with dynamic shapes, and torch.export."""

import pytest
import torch
import torch._dynamo.testing
from ops.grid import distinct
from ops.operations import CONVOLUTIONS, DIFFERENTIABLE, OPERATIONS, every_map_operation

from wwae import ops


def pool_and_unpool(x):
    values, switches = ops.switch_pool2d(x, 3, 2, 1)
    return ops.switch_unpool2d(values * 2, switches, overlap="sum"), switches


def drop_ins(x):
    values, indices = ops.max_pool2d(x, 2, return_indices=True)
    return ops.max_unpool2d(values * 2, indices, 2, output_size=x.shape[-2:]) + ops.fixed_unpool2d(values, 2, output_size=x.shape)


def test_every_operation_is_here():
    named = {name.partition("-")[0] for name, operation in OPERATIONS.items() if operation.of_map}
    assert named == DIFFERENTIABLE


@every_map_operation
def test_compiles_whole_and_once_for_all_sizes(operation):
    """Forward and backward, without a graph break, and without another compilation for another size."""
    torch.compiler.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(operation.of_map, fullgraph=True, dynamic=True, backend=counter)
    for shape in ((2, 3, 8, 10), (3, 5, 9, 12), (4, 2, 17, 6)):
        x = distinct(*shape).requires_grad_()
        other = x.detach().clone().requires_grad_()
        actual, expected = compiled(x), operation.of_map(other)
        assert torch.equal(actual, expected)
        actual.square().sum().backward()
        expected.square().sum().backward()
        assert torch.equal(x.grad, other.grad)
    assert counter.frame_count <= 2  # one for even and one for odd sizes at most


@every_map_operation
def test_exports_for_all_sizes(operation, tmp_path):
    class Program(torch.nn.Module):
        def forward(self, x):
            return operation.of_map(x)

    batch, height, width = (torch.export.Dim(name, min=4, max=64) for name in ("batch", "height", "width"))
    program = torch.export.export(Program(), (distinct(4, 3, 12, 16),), dynamic_shapes={"x": {0: batch, 2: height, 3: width}})
    torch.export.save(program, tmp_path / "model.pt2")
    x = distinct(5, 3, 21, 9)
    assert torch.equal(torch.export.load(tmp_path / "model.pt2").module()(x), operation.of_map(x))


@every_map_operation
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_autocast_leaves_every_dtype_alone_but_where_it_casts_convolutions(operation, dtype):
    x = distinct(2, 3, 8, 10).to(dtype)
    cast = operation.overload in [getattr(torch.ops.wwae, name).default for name in CONVOLUTIONS] and dtype != torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert operation.of_map(x).dtype == (torch.bfloat16 if cast else dtype)


@pytest.mark.parametrize("function", [pool_and_unpool, drop_ins])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_equals_eager_over_dynamic_shapes(function, backend):
    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend=backend)
    for shape in ((2, 3, 8, 8), (3, 5, 9, 12), (1, 2, 17, 6)):
        for layout in (torch.contiguous_format, torch.channels_last):
            x = distinct(*shape).contiguous(memory_format=layout).requires_grad_()
            other = x.detach().clone().requires_grad_()
            actual, expected = compiled(x), function(other)
            if isinstance(actual, tuple):
                assert actual[1] == expected[1]
                actual, expected = actual[0], expected[0]
            assert torch.equal(actual, expected)
            actual.square().sum().backward()
            expected.square().sum().backward()
            assert torch.equal(x.grad, other.grad)


def test_switches_go_into_a_compiled_function():
    torch.compiler.reset()
    values, switches = ops.switch_pool2d(torch.randn(1, 2, 8, 8), 2)
    compiled = torch.compile(lambda v, s: ops.switch_unpool2d(v, s), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(values, switches), ops.switch_unpool2d(values, switches))


class Model(torch.nn.Module):
    def forward(self, x):
        full, switches = pool_and_unpool(x)
        return full, switches.offsets


def test_export_with_dynamic_sizes(tmp_path):
    batch, height, width = (torch.export.Dim(name, min=4, max=64) for name in ("batch", "height", "width"))
    program = torch.export.export(Model(), (torch.randn(4, 3, 12, 16),), dynamic_shapes={"x": {0: batch, 2: height, 3: width}})
    torch.export.save(program, tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    x = torch.randn(5, 3, 21, 9)
    for actual, expected in zip(loaded(x), Model()(x), strict=True):
        assert torch.equal(actual, expected)

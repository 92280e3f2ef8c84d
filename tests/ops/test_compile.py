"""torch.compile without graph breaks, with dynamic shapes, and torch.export."""

import pytest
import torch
from ops.grid import distinct

from wwae import ops


def pool_and_unpool(x):
    values, switches = ops.switch_pool2d(x, 3, 2, 1)
    return ops.switch_unpool2d(values * 2, switches, overlap="sum"), switches


def drop_ins(x):
    values, indices = ops.max_pool2d(x, 2, return_indices=True)
    return ops.max_unpool2d(values * 2, indices, 2, output_size=x.shape[-2:]) + ops.fixed_unpool2d(values, 2, output_size=x.shape)


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


def test_autocast_leaves_the_dtype_alone():
    x = torch.randn(1, 2, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        values, _ = ops.switch_pool2d(x, 2)
        assert values.dtype == torch.float32
        assert ops.switch_pool2d(x.bfloat16(), 2)[0].dtype == torch.bfloat16

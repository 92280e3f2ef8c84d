"""The value that carries switches: its conversions, its identity, and the ways it travels."""

import copy
import io
import pickle

import pytest
import torch
from kernel_cases import make_map
from ops.grid import every_case
from torch.utils import _pytree as pytree

from wwae.ops import Switches, max_pool2d, switch_pool2d, switch_unpool2d


@every_case
def test_indices_and_back(case):
    x = make_map(case.shape, torch.float32, seed=0)
    _, switches = switch_pool2d(x, *case.window, case.ceil_mode)
    _, expected = max_pool2d(x, *case.window, case.ceil_mode, return_indices=True)
    indices = switches.indices()
    assert indices.dtype == torch.int64
    assert torch.equal(indices[indices >= 0], expected[indices >= 0])
    back = Switches.from_indices(indices, *case.window, case.ceil_mode, input_size=case.shape[2:])
    assert back == switches


def test_indices_are_flat_in_every_memory_format():
    x = torch.randn(2, 3, 6, 8)
    _, contiguous = switch_pool2d(x, 2)
    _, channels_last = switch_pool2d(x.contiguous(memory_format=torch.channels_last), 2)
    assert torch.equal(contiguous.indices(), channels_last.indices())
    assert channels_last.indices().is_contiguous(memory_format=torch.channels_last)
    assert switch_pool2d(x[0], 2)[1].indices().shape == (3, 3, 4)


@pytest.mark.parametrize("bad", [-1, 2, 100])
def test_from_indices_refuses_an_index_outside_its_window(bad):
    indices = torch.tensor([[[[0, 2], [8, 10]]]])
    indices[0, 0, 1, 0] = bad
    with pytest.raises(RuntimeError, match=rf"expected every index inside its own window, got {bad} at \(0, 0, 1, 0\)"):
        Switches.from_indices(indices, 2, input_size=(4, 4))


def test_from_indices_refuses_other_types_and_shapes():
    with pytest.raises(RuntimeError, match=r"expected indices of dtype torch.int64, got torch.int32"):
        Switches.from_indices(torch.zeros(1, 1, 2, 2, dtype=torch.int32), 2, input_size=(4, 4))
    with pytest.raises(RuntimeError, match=r"expected indices of shape"):
        Switches.from_indices(torch.zeros(4, dtype=torch.int64), 2, input_size=(4, 4))
    with pytest.raises(RuntimeError, match=r"expected offsets of shape \(N, C, 2, 2\) .* got \(1, 1, 1, 2\)"):
        Switches.from_indices(torch.tensor([[[[0, 2]]]]), 2, input_size=(4, 4))


def test_constructor_refuses_what_is_no_pooling():
    offsets = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match=r"expected offsets of dtype torch.int16 for kernel_size=\(20, 20\), got torch.uint8"):
        Switches(offsets, 20, input_size=(40, 40))
    with pytest.raises(RuntimeError, match=r"for input_size=\(8, 8\), got \(1, 1, 2, 2\)"):
        Switches(offsets, 2, input_size=(8, 8))
    with pytest.raises(TypeError):
        Switches(offsets, 2)


def test_equality_and_hash():
    _, one = switch_pool2d(torch.arange(16.0).view(1, 1, 4, 4), 2)
    _, same = switch_pool2d(torch.arange(16.0).view(1, 1, 4, 4) * 2, 2)
    _, other = switch_pool2d(-torch.arange(16.0).view(1, 1, 4, 4), 2)
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != "switches"
    assert len({one, same}) == 1
    assert one != Switches(one.offsets, 2, ceil_mode=True, input_size=(4, 4))


def test_immutable():
    _, switches = switch_pool2d(torch.randn(1, 1, 4, 4), 2)
    with pytest.raises(AttributeError, match="Switches is immutable: cannot set offsets"):
        switches.offsets = None
    with pytest.raises((AttributeError, TypeError)):
        del switches.offsets


def test_repr_names_the_geometry():
    _, switches = switch_pool2d(torch.randn(2, 3, 5, 5), 2, ceil_mode=True)
    assert repr(switches) == (
        "Switches((2, 3, 3, 3), torch.uint8, kernel_size=(2, 2), stride=(2, 2), padding=(0, 0), dilation=(1, 1), "
        "ceil_mode=True, input_size=(5, 5), device='cpu')"
    )


def test_size_and_moves():
    _, switches = switch_pool2d(torch.randn(2, 3, 8, 8), 2)
    assert switches.nbytes == 2 * 3 * 4 * 4
    assert switches.indices().nbytes == 8 * switches.nbytes
    assert switches.to("meta").device.type == "meta"
    assert switches.detach() == switches
    with pytest.raises(TypeError, match="expected device to be a device, its name or number, got"):
        switches.to(torch.float32)


def from_largest(x):
    values, indices = torch.nn.functional.max_pool2d(x, 2, return_indices=True)
    return switch_unpool2d(values, Switches.from_indices(indices, 2, input_size=x.shape[-2:]))


def test_from_indices_where_there_are_no_values_to_check():
    x = torch.randn(2, 3, 9, 8)
    assert from_largest(x.to("meta")).shape == x.shape
    assert torch.equal(torch.compile(from_largest, fullgraph=True, backend="aot_eager")(x), from_largest(x))
    assert torch.equal(torch.func.vmap(from_largest)(x), from_largest(x))


def test_copies_and_files():
    _, switches = switch_pool2d(torch.randn(2, 3, 8, 8), 3, 2, 1)
    assert copy.deepcopy(switches) == switches
    assert copy.copy(switches) == switches
    assert pickle.loads(pickle.dumps(switches)) == switches
    file = io.BytesIO()
    torch.save({"switches": switches}, file)
    file.seek(0)
    assert torch.load(file, weights_only=True)["switches"] == switches


def test_is_a_pytree():
    _, switches = switch_pool2d(torch.randn(2, 3, 8, 8), 2)
    leaves, spec = pytree.tree_flatten({"a": switches})
    assert leaves[1:] == [8, 8]
    assert pytree.tree_unflatten(leaves, spec)["a"] == switches
    assert pytree.treespec_loads(pytree.treespec_dumps(spec)) == spec
    moved = pytree.tree_map(lambda leaf: leaf.to("meta") if isinstance(leaf, torch.Tensor) else leaf, switches)
    assert moved.device.type == "meta"

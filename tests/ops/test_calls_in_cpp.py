"""Calls of the operations in C++: the same results and errors as in Python, where everything goes that is no plain call."""

import subprocess
import sys
import threading

import pytest
import torch
from ops.grid import distinct
from ops.operations import GEOMETRY
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

import wwae
from wwae import _extension, ops
from wwae.ops import _library
from wwae.ops.batch_norm_relu_pool2d import BatchNormReLUPool2d
from wwae.ops.bias_relu_pool2d import BiasReLUPool2d
from wwae.ops.fixed_unpool2d import FixedUnpool2d
from wwae.ops.max_gather2d import MaxGather2d
from wwae.ops.max_pool2d import MaxPool2d
from wwae.ops.max_unpool2d import MaxUnpool2d
from wwae.ops.soft_argmax_pool2d import SoftArgmaxPool2d
from wwae.ops.switch_gather2d import SwitchGather2d
from wwae.ops.switch_pool2d import SwitchPool2d
from wwae.ops.switch_unpool2d import SwitchUnpool2d

MAP = distinct(2, 3, 7, 9)
INPUT_SIZE = (7, 9)


def _offsets():
    return SwitchPool2d.in_python(MAP, *GEOMETRY, False)[1]


def _indices():
    return MaxPool2d.in_python(MAP, *GEOMETRY, False)[1]


def _pooled():
    return SwitchPool2d.in_python(MAP, *GEOMETRY, False)[0]


def _parameters():
    return distinct(3, 1, 1, 1).flatten(), torch.tensor([-3.0, -12.0, -9.5], dtype=torch.float64)


# Every operation that has C++: its class, its differentiable tensors, and the arguments after them.
CALLS = {
    "switch_pool2d": (SwitchPool2d, lambda: ([MAP], (*GEOMETRY, False))),
    "max_pool2d": (MaxPool2d, lambda: ([MAP], (*GEOMETRY, False))),
    "switch_unpool2d": (SwitchUnpool2d, lambda: ([_pooled()], (_offsets(), *GEOMETRY, INPUT_SIZE, "mean"))),
    "switch_gather2d": (SwitchGather2d, lambda: ([MAP], (_offsets(), *GEOMETRY, "last"))),
    "max_unpool2d": (MaxUnpool2d, lambda: ([_pooled()], (_indices(), INPUT_SIZE))),
    "max_gather2d": (MaxGather2d, lambda: ([MAP], (_indices(),))),
    "fixed_unpool2d": (FixedUnpool2d, lambda: ([_pooled()], ((2, 2), (1, 1), INPUT_SIZE))),  # the last taps stand outside
    "fixed_unpool2d-inside": (FixedUnpool2d, lambda: ([_pooled()], ((2, 2), (1, 1), (9, 10)))),
    "bias_relu_pool2d": (BiasReLUPool2d, lambda: ([MAP, _parameters()[1]], (*GEOMETRY, False))),
    "batch_norm_relu_pool2d": (BatchNormReLUPool2d, lambda: ([MAP, *_parameters()], (None, None, 1e-5, *GEOMETRY, False))),
}

every_call = pytest.mark.parametrize("name", CALLS)


def _first(results):
    return results[0] if isinstance(results, tuple) else results


def _leaves(name, dtype=torch.float64, layout=torch.contiguous_format):
    function, make = CALLS[name]
    tensors, constants = make()
    leaves = [
        t.to(dtype).contiguous(memory_format=layout if t.dim() == 4 else torch.contiguous_format).detach().requires_grad_()
        for t in tensors
    ]
    return function, leaves, constants


def test_the_library_is_loaded():
    assert _extension.autograd_library().reason is None
    assert all(function.run is not function.in_python for function, _ in CALLS.values())
    assert SoftArgmaxPool2d.run is SoftArgmaxPool2d.in_python  # the library has no such operation


@every_call
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_results_and_gradients_equal_those_of_python(name, dtype, layout):
    function, leaves, constants = _leaves(name, dtype, layout)
    found, expected = function.run(*leaves, *constants), function.in_python(*leaves, *constants)
    assert type(found) is type(expected)
    both = list(zip(found, expected, strict=True)) if isinstance(found, tuple) else [(found, expected)]
    for number, (one, other) in enumerate(both):
        assert torch.equal(one, other) and one.stride() == other.stride() and one.dtype == other.dtype
        assert one.requires_grad == other.requires_grad == (number == 0)
    # Each in the layout that it is least likely to be in: backward brings it into that of the switches.
    weight = torch.rand(both[0][0].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    gradients = [torch.autograd.grad(_first(result), leaves, weight) for result in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other) and one.stride() == other.stride() and one.dtype == other.dtype


@every_call
def test_second_and_third_derivatives_equal_those_of_python(name):
    def third(run):
        function, leaves, constants = _leaves(name)
        result = _first(getattr(function, run)(*leaves, *constants))
        order = [torch.autograd.grad(result.pow(3).sum(), leaves, create_graph=True)]
        for _ in range(2):
            order.append(torch.autograd.grad(sum(g.pow(2).sum() for g in order[-1]), leaves, create_graph=True))
        return [g for gradients in order for g in gradients]

    for one, other in zip(third("run"), third("in_python"), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@every_call
def test_first_derivatives_in_python_are_right(name):
    """What stands in for C++ wherever that can't serve."""
    function, leaves, constants = _leaves(name)
    assert torch.autograd.gradcheck(
        lambda *tensors: _first(function.in_python(*tensors, *constants)), leaves, check_forward_ad=True
    )


@every_call
def test_the_node_has_the_name_of_the_operation(name):
    function, leaves, constants = _leaves(name)
    result = _first(function.run(*leaves, *constants))
    assert result.grad_fn.name() == f"torch::autograd::CppNode<{function.__name__}Backward>"
    assert f"grad_fn=<CppNode<{function.__name__}Backward>>" in repr(result)


@every_call
def test_no_node_without_a_derivative(name):
    function, leaves, constants = _leaves(name)
    with torch.no_grad():
        assert not _first(function.run(*leaves, *constants)).requires_grad
    assert not _first(function.run(*(leaf.detach() for leaf in leaves), *constants)).requires_grad


@pytest.mark.parametrize("asked", [0, 1])
def test_only_one_of_two_inputs_may_want_a_gradient(asked):
    function, leaves, constants = _leaves("bias_relu_pool2d")
    leaves[1 - asked].requires_grad_(False)
    expected = torch.autograd.grad(function.in_python(*leaves, *constants)[0].sum(), leaves[asked])
    assert torch.equal(torch.autograd.grad(function.run(*leaves, *constants)[0].sum(), leaves[asked])[0], expected[0])


def test_what_backward_needs_goes_with_the_graph_and_may_not_be_written_to():
    x = MAP.clone().requires_grad_()
    values, switches = ops.switch_pool2d(x, 2)
    values.sum().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        values.sum().backward()
    values, switches = ops.switch_pool2d(x, 2)
    switches.offsets.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        values.sum().backward()


@every_call
def test_hooks_see_what_is_kept(name):
    function, leaves, constants = _leaves(name)
    packed = {"run": [], "in_python": []}
    for run, kept in packed.items():
        with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: kept.append(t) or t, lambda t: t):
            getattr(function, run)(*leaves, *constants)
    shapes = [sorted((tuple(t.shape), str(t.dtype)) for t in kept) for kept in packed.values()]
    assert shapes[0] == shapes[1]
    assert (shapes[0] == []) == (function is FixedUnpool2d)


@every_call
def test_gradients_of_a_batch_of_gradients(name):
    function, leaves, constants = _leaves(name)
    result = _first(function.run(*leaves, *constants))
    weights = torch.rand(3, *result.shape, generator=torch.Generator().manual_seed(0), dtype=result.dtype)
    batched = torch.autograd.grad(result, leaves, weights, retain_graph=True, is_grads_batched=True)
    for number, weight in enumerate(weights):
        single = torch.autograd.grad(result, leaves, weight, retain_graph=True)
        for one, other in zip(batched, single, strict=True):
            torch.testing.assert_close(one[number], other)


@every_call
def test_a_tangent_that_first_comes_with_the_gradient(name):
    """Forward over reverse, where the graph was made before the level of dual numbers."""
    function, leaves, constants = _leaves(name)
    result = _first(function.run(*leaves, *constants))
    weight, direction = torch.rand_like(result), torch.rand_like(result)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(weight, direction)
        gradient = torch.autograd.grad(result, leaves[0], dual, retain_graph=True, create_graph=True)[0]
        tangent = forward_ad.unpack_dual(gradient).tangent
    (expected,) = torch.autograd.grad(result, leaves[0], direction)  # backward is linear in what comes
    torch.testing.assert_close(tangent, expected)


def test_subclasses_and_modes_of_torch_functions_are_respected():
    class Named(torch.Tensor):
        pass

    named = MAP.clone().as_subclass(Named).requires_grad_()
    assert type(ops.switch_pool2d(named, 2)[0]) is type(SwitchPool2d.in_python(named, (2, 2), (2, 2), (0, 0), (1, 1), False)[0])

    seen = []

    class Seeing(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    with Seeing():
        ops.switch_pool2d(MAP, 2)
    assert any("switch_pool2d" in str(function) for function in seen)
    assert isinstance(ops.switch_pool2d(torch.nn.Parameter(MAP.clone()), 2)[0], torch.Tensor)


def test_fake_tensors_have_symbols_and_no_memory():
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    x = MAP.clone().requires_grad_()
    with FakeTensorMode(shape_env=ShapeEnv()) as mode:
        x = mode.from_tensor(x)
        values, switches = ops.switch_pool2d(x, 2)
        (gradient,) = torch.autograd.grad(values.sum(), x)
    assert isinstance(values, torch._subclasses.FakeTensor) and gradient.shape == x.shape
    assert switches.offsets.dtype == torch.uint8


def test_errors_of_kernels_come_as_in_python():
    pooled, bad = _pooled().requires_grad_(), torch.full_like(_indices(), 63)
    for run in (MaxUnpool2d.run, MaxUnpool2d.in_python):
        with pytest.raises(RuntimeError, match="found an invalid max index 63"):
            run(pooled, bad, INPUT_SIZE)
    with wwae.use_backend("reference"), pytest.raises((RuntimeError, IndexError)):
        MaxUnpool2d.run(pooled, bad, INPUT_SIZE)


def test_a_forced_backend_serves_calls_and_derivatives():
    for name in CALLS:
        function, leaves, constants = _leaves(name)
        with wwae.use_backend("reference"):
            forced = _first(function.run(*leaves, *constants))
            expected = torch.autograd.grad(forced.sum(), leaves)
        found = torch.autograd.grad(_first(function.run(*leaves, *constants)).sum(), leaves)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)


def test_threads_differentiate_at_the_same_time():
    expected = torch.autograd.grad(ops.switch_pool2d(leaf := MAP.clone().requires_grad_(), 2)[0].square().sum(), leaf)[0]
    results = [None] * 4

    def work(number):
        for _ in range(50):
            x = MAP.clone().requires_grad_()
            results[number] = torch.autograd.grad(ops.switch_pool2d(x, 2)[0].square().sum(), x)[0]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(result, expected) for result in results)


def test_compiled_autograd_takes_the_nodes():
    for name in CALLS:
        function, leaves, constants = _leaves(name)
        expected = torch.autograd.grad(_first(function.run(*leaves, *constants)).sum(), leaves)
        result = _first(function.run(*leaves, *constants)).sum()
        with torch._dynamo.compiled_autograd._enable(lambda graph: graph):
            result.backward()
        for leaf, gradient in zip(leaves, expected, strict=True):
            assert torch.equal(leaf.grad, gradient), name


def test_another_pytorch_calls_in_python(monkeypatch):
    _extension.autograd_library.cache_clear()
    try:
        monkeypatch.setattr(_extension, "build_info", lambda: {"torch": "2.10.0"})
        here = torch.__version__.partition("+")[0]
        reason = f"built with PyTorch 2.10.0, this is {here}; installing wwae again builds it"
        assert _extension.autograd_library().reason == reason
        assert _library._in_eager_mode(SwitchPool2d) is SwitchPool2d.in_python
        monkeypatch.setattr(_extension, "build_info", dict)
        _extension.autograd_library.cache_clear()
        assert _extension.autograd_library().reason.startswith("not built")
    finally:
        monkeypatch.undo()
        _extension.autograd_library.cache_clear()


def test_the_process_ends_quietly_with_graphs_alive():
    program = (
        "import torch, wwae\n"
        "values, switches = wwae.ops.switch_pool2d(torch.randn(1, 1, 4, 4, requires_grad=True), 2)\n"
        "kept = [values, torch.autograd.grad(values.sum(), values.grad_fn.next_functions[0][0].variable, create_graph=True)]\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (0, "")

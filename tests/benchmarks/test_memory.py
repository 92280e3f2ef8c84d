"""The measure of memory, on calls whose peak is known."""

from importlib import import_module

import pytest
import torch

import wwae
from benchmarks.cases import Case, Setting
from benchmarks.measure import prepare
from benchmarks.memory import peak_bytes

MB = 10**6
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def megabytes(count, device):
    return torch.empty(count * MB, dtype=torch.uint8, device=device)


def rounded(count, device):
    """What the allocator gives for so many megabytes: on a GPU blocks of 512 bytes, and of 2 MiB for large ones."""
    return count * MB if device == "cpu" else pytest.approx(count * MB, abs=2**21 * 3)


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_there_at_once_counts(device):
    def call():
        first, second = megabytes(30, device), megabytes(20, device)
        del first
        third = megabytes(25, device)
        return second, third

    assert peak_bytes(call, device) == rounded(50, device)


@pytest.mark.parametrize("device", DEVICES)
def test_what_was_there_before_does_not_count(device):
    kept = megabytes(100, device)
    assert peak_bytes(lambda: kept.zero_(), device) == 0
    assert peak_bytes(lambda: kept[: 10 * MB].bitwise_not(), device) == rounded(10, device)


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_made_once_does_not_count(device):
    made = []

    def call():
        if not made:
            made.append(megabytes(100, device))
        return megabytes(10, device)

    assert peak_bytes(call, device) == rounded(10, device)


@pytest.mark.parametrize("device", DEVICES)
def test_the_second_measurement_is_the_first(device):
    assert len({peak_bytes(lambda: megabytes(10, device).bitwise_not(), device) for _ in range(3)}) == 1


def test_a_step_holds_what_forward_keeps_and_the_gradients_beside_it():
    """4 MB each: the results of relu and sigmoid, which backward needs, and the gradient of one beside that of the other."""
    x = torch.randn(MB, requires_grad=True)
    gradient = torch.ones(MB)

    def step():
        return torch.autograd.grad(x.relu().sigmoid(), x, gradient)

    assert peak_bytes(step, "cpu") == 16 * MB
    assert peak_bytes(lambda: x.detach().relu().sigmoid(), "cpu") == 8 * MB


def test_buffers_inside_an_operation_count():
    """The backward of a convolution reorders the weights."""
    x = torch.randn(1, 64, 56, 56, requires_grad=True)
    weight = torch.randn(64, 64, 3, 3, requires_grad=True)
    y = torch.conv2d(x, weight, None, 1, 1)
    results = x.nbytes + weight.nbytes
    gradient = torch.ones_like(y)
    assert peak_bytes(lambda: torch.autograd.grad(y, (x, weight), gradient, retain_graph=True), "cpu") > results


def test_the_memory_of_our_operations_counts():
    x = torch.randn(2, 16, 32, 32)
    assert peak_bytes(lambda: wwae.ops.switch_pool2d(x, 2), "cpu") == x.nbytes // 4 + x.numel() // 4


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("operation", ["conv_relu_pool2d", "unpool_conv2d"])
def test_a_step_with_a_convolution_holds_less_than_its_parts_in_pytorch(operation, layout):
    """Where maps are larger than weights: the gradient of one of them is not there while the other's is made."""
    measured = import_module(f"benchmarks.bench_{operation}").OPERATION
    case = Case("a", batch=2, channels=64, size=56, kernel=2, stride=2)

    def peak(provider):
        function, _ = prepare(measured, Setting(case, "float32", layout, "step", provider), "cpu")
        return peak_bytes(function, "cpu")

    assert peak("wwae") < 0.95 * peak("eager")


@pytest.mark.parametrize("operation", ["switch_pool2d", "max_pool2d"])
def test_backward_of_a_pool_makes_its_gradient_and_nothing_else(operation):
    """Switches and indices have no gradient: no zeros are made for them."""
    x = torch.randn(2, 16, 32, 32, requires_grad=True)
    result = getattr(wwae.ops, operation)(x, 2)
    values = result if isinstance(result, torch.Tensor) else result[0]
    gradient = torch.ones_like(values)
    assert peak_bytes(lambda: torch.autograd.grad(values, x, gradient, retain_graph=True), "cpu") == x.nbytes

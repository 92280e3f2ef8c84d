"""PyTorch's unpooling by indices: kernels against the reference, the reference against PyTorch."""

import pytest
import torch
from kernel_cases import check_max_unpool2d, in_layout, indexed_windows
from ops.grid import every_case, every_dtype, every_layout

from wwae.ops import max_unpool2d


@every_case
@every_dtype
@every_layout
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last):
    check_max_unpool2d(kernel("max_unpool2d"), case, dtype, channels_last)


@pytest.fixture
def one_thread():
    """PyTorch splits a plane between threads, which then race for an element that two windows point at."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@every_case
@every_layout
@pytest.mark.usefixtures("one_thread")
def test_equals_pytorch(case, channels_last):
    for x, indices in indexed_windows(case, torch.float32, channels_last):
        arguments = [in_layout(t, channels_last) for t in (x, indices)]
        actual = torch.ops.wwae.max_unpool2d(*arguments, case.shape[2:])
        expected = torch.ops.aten.max_unpool2d(*(t.contiguous() for t in arguments), case.shape[2:])
        torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)


def test_gradient_goes_to_the_window_that_wins():
    x = torch.tensor([[[[1.0, 2.0]]]], requires_grad=True)
    full = max_unpool2d(x, torch.tensor([[[[0, 0]]]]), (1, 2), output_size=(1, 4))
    assert full.tolist() == [[[[2, 0, 0, 0]]]]
    full.sum().backward()
    assert x.grad.tolist() == [[[[0, 1]]]]


@pytest.mark.parametrize("bad", [-1, 16, 2**40])
def test_index_outside_the_plane_is_named(bad):
    indices = torch.zeros(1, 1, 2, 2, dtype=torch.int64)
    indices[0, 0, 1, 0] = bad
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.zeros(1, 2, 2, 2).contiguous(memory_format=layout)
        with pytest.raises(RuntimeError, match=rf"found an invalid max index {bad} \(output volumes are of size 4x4\)"):
            max_unpool2d(x, indices.expand(1, 2, 2, 2), 2)
        with pytest.raises(RuntimeError, match=f"found an invalid max index {bad} "):
            torch.ops.wwae.max_gather2d(torch.zeros(1, 2, 4, 4).contiguous(memory_format=layout), indices.expand(1, 2, 2, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"indices": torch.zeros(1, 1, 2, 2)}, RuntimeError, "elements in indices should be type int64 but got: torch.float32"),
        ({"indices": torch.zeros(1, 1, 2, 3).long()}, RuntimeError, "Expected shape of indices to be same as that of the input"),
        ({"indices": None}, TypeError, "expected indices to be a tensor, got NoneType"),
        ({"output_size": (9, 4)}, ValueError, "invalid output_size"),
        ({"input": torch.zeros(1, 1, 2, 2).long()}, RuntimeError, "expected input of dtype"),
    ],
)
def test_errors_name_argument_rule_and_value(arguments, error, words):
    given = {"input": torch.zeros(1, 1, 2, 2), "indices": torch.zeros(1, 1, 2, 2).long(), "kernel_size": 2}
    with pytest.raises(error, match=words):
        max_unpool2d(**(given | arguments))

"""Unpooling at a fixed tap: kernels against the reference, and what the docstring promises."""

import pytest
import torch
from kernel_cases import check_fixed_unpool2d
from ops.grid import every_case, every_dtype, every_layout

from wwae.ops import fixed_unpool2d


@every_case
@every_dtype
@every_layout
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last):
    check_fixed_unpool2d(kernel("fixed_unpool2d"), case, dtype, channels_last)


def test_default_tap_is_half_the_kernel():
    x = torch.arange(1.0, 5.0).view(1, 1, 2, 2)
    assert fixed_unpool2d(x, 2)[0, 0].tolist() == [[0, 0, 0, 0], [0, 1, 0, 2], [0, 0, 0, 0], [0, 3, 0, 4]]
    assert fixed_unpool2d(x, 3)[0, 0].nonzero().tolist() == [[1, 1], [1, 4], [4, 1], [4, 4]]
    assert fixed_unpool2d(x, 2, position=0)[0, 0].nonzero().tolist() == [[0, 0], [0, 2], [2, 0], [2, 2]]


def test_output_size_as_of_ceil_mode_and_of_odd_maps():
    x = torch.randn(1, 2, 4, 4, requires_grad=True)
    assert fixed_unpool2d(x, 2, output_size=(9, 9)).shape == (1, 2, 9, 9)
    # The last row of windows has its tap outside of a map of 7: it writes nothing and gets no gradient.
    full = fixed_unpool2d(x, 2, output_size=(7, 8))
    full.sum().backward()
    assert x.grad[0, 0].tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]


def test_unbatched_and_empty():
    assert fixed_unpool2d(torch.randn(3, 2, 2), 2).shape == (3, 4, 4)
    assert fixed_unpool2d(torch.randn(0, 3, 2, 2), 3, 2).shape == (0, 3, 5, 5)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"position": 2}, ValueError, r"expected position inside the window of kernel_size=\(2, 2\), got \(2, 2\)"),
        ({"position": (0, -1)}, ValueError, "expected position inside the window"),
        ({"output_size": (10, 8)}, ValueError, r"invalid output_size .* must be between 6 and 10"),
        ({"output_size": (1, 2, 3)}, ValueError, "output_size should be a sequence containing 2 or 4 elements"),
        ({"kernel_size": 0}, RuntimeError, "kernel size should be greater than zero"),
        ({"x": torch.zeros(4)}, RuntimeError, "expected x of shape"),
    ],
)
def test_errors_name_argument_rule_and_value(arguments, error, words):
    with pytest.raises(error, match=words) as caught:
        fixed_unpool2d(**({"x": torch.zeros(1, 1, 4, 4), "kernel_size": 2} | arguments))
    assert str(caught.value).startswith("fixed_unpool2d")

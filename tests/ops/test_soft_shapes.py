"""The C++ kernels of the soft operations on any shape and window, beside their definitions."""

import pytest
import soft_cases
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, Case

import wwae

STEMS = ["soft_argmax_pool2d", "soft_argmax_pool2d_backward", "soft_argmax_unpool2d", "soft_argmax_unpool2d_backward"]


@st.composite
def cases(draw) -> Case:
    """Up to 18 x 18 taps, strides within and beyond the window, every padding that is allowed."""
    kernel = draw(st.tuples(*2 * (st.one_of(st.integers(1, 4), st.integers(5, 18)),)))
    stride = draw(st.tuples(*2 * (st.integers(1, 20),)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    size = tuple(draw(st.integers(max(1, k - 2 * p), k + 24)) for k, p in zip(kernel, padding, strict=True))
    return Case((draw(st.integers(1, 2)), draw(st.integers(1, 19)), *size), kernel, stride, padding)


@pytest.mark.parametrize("stem", STEMS)
@given(case=cases(), dtype=st.sampled_from(DTYPES), channels_last=st.booleans())
@settings(max_examples=40)
def test_kernels_equal_the_reference(stem, case, dtype, channels_last):
    torch.use_deterministic_algorithms(True)  # torch.empty is filled with NaN
    try:
        with wwae.use_backend("cpu"):
            getattr(soft_cases, f"check_{stem}")(getattr(torch.ops.wwae, stem), case, dtype, channels_last)
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize(
    "case",
    [
        # Contiguous planes are computed a vector of them at a time, the last ones fewer; more than are cut into one task.
        Case((2, 35, 6, 7), (2, 2), (2, 2)),
        Case((3, 37, 13, 13), (3, 3), (2, 2)),
        Case((1, 16, 5, 90), (3, 4), (3, 5), (1, 2)),
        Case((2, 20, 34, 31), (6, 5), (4, 5)),
        Case((2, 66, 40, 36), (3, 3), (2, 2)),
        # Not those of long rows of 2x2/2 windows, nor few or large ones.
        Case((2, 20, 8, 50), (2, 2), (2, 2)),
        Case((1, 17, 130, 140), (3, 3), (3, 3)),
    ],
    ids=str,
)
def test_blocks_of_planes_equal_the_reference(stem, case, dtype):
    with wwae.use_backend("cpu"):
        getattr(soft_cases, f"check_{stem}")(getattr(torch.ops.wwae, stem), case, dtype, False)


def test_no_gradient_of_blocks_depends_on_the_number_of_threads():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 37, 13, 13, generator=generator)
    beta = torch.rand(3, 37, generator=generator) * 10
    what, where = torch.ops.wwae.soft_argmax_pool2d(x, beta, (3, 3), (2, 2), (0, 0))
    gradients = torch.randn(what.shape, generator=generator), torch.randn(where.shape, generator=generator)
    results, threads = [], torch.get_num_threads()
    try:
        for count in (1, 1, 2, 3):
            torch.set_num_threads(count)
            results.append(torch.ops.wwae.soft_argmax_pool2d_backward(x, beta, *gradients, (3, 3), (2, 2), (0, 0), True))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(results[0], result, strict=True))

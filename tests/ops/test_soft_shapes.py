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

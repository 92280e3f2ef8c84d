"""The Triton kernels equal the reference for any geometry."""

import pytest
from geometries import any_case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_cases import CHECKS, DTYPES

from wwae import triton_kernels

# The interpreter is slow: one example for ten of the other backends.
EXAMPLES = max(settings.default.max_examples // 10, 1)


@pytest.mark.parametrize("stem", CHECKS)
@given(case=any_case(), dtype=st.sampled_from(DTYPES), channels_last=st.booleans(), data=st.data())
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_kernels_equal_the_reference(stem, case, dtype, channels_last, data):
    check, arguments = CHECKS[stem]
    check(getattr(triton_kernels, f"{stem}_triton"), case, dtype, channels_last, *data.draw(st.sampled_from(arguments)))

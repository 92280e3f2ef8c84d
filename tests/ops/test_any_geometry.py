"""The kernels equal the reference for any geometry."""

import pytest
from checks import CHECKS as POOLING_CHECKS
from convolution_cases import CHECKS as CONVOLUTION_CHECKS
from geometries import any_case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES

from wwae.ops._library import OPERATIONS

CHECKS = POOLING_CHECKS | CONVOLUTION_CHECKS


def test_every_operation_is_here():
    assert set(CHECKS) == set(OPERATIONS)


@pytest.mark.parametrize("stem", CHECKS)
@given(case=any_case(), dtype=st.sampled_from(DTYPES), channels_last=st.booleans(), data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the fixture chooses a backend, for all examples
def test_kernels_equal_the_reference(kernel, stem, case, dtype, channels_last, data):
    check, arguments = CHECKS[stem]
    check(kernel(stem), case, dtype, channels_last, *data.draw(st.sampled_from(arguments)))

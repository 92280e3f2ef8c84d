"""The CUDA kernels equal the reference for any geometry and in any order of threads."""

from pathlib import Path

import pytest
from emulation.build import missing
from emulation.emulated import ORDERS, EmulatedKernels
from geometries import any_case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_cases import CHECKS, DTYPES

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")


@pytest.mark.parametrize("stem", CHECKS)
@given(
    case=any_case(),
    dtype=st.sampled_from(DTYPES),
    channels_last=st.booleans(),
    order=st.sampled_from(sorted(ORDERS)),
    seed=st.integers(0, 100),
    data=st.data(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # memory is poisoned for all examples
def test_kernels_equal_the_reference(library: Path, stem, case, dtype, channels_last, order, seed, data):
    kernels = EmulatedKernels(library, order, seed, wide_owners=bool(seed % 2))
    check, arguments = CHECKS[stem]
    check(getattr(kernels, stem), case, dtype, channels_last, *data.draw(st.sampled_from(arguments)))

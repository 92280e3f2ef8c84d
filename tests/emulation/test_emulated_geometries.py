"""The CUDA kernels equal the reference for any geometry and in any order of threads."""

from pathlib import Path

import pytest
import torch
from checks import CHECKS
from convolution_cases import CHECKS as CONVOLUTION_CHECKS
from emulation.build import missing
from emulation.emulated import ORDERS, EmulatedKernels
from geometries import any_case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES

from wwae.ops.backends import _KERNELS_OF

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")


def any_run(dtypes):
    return given(
        case=any_case(),
        dtype=st.sampled_from(dtypes),
        channels_last=st.booleans(),
        order=st.sampled_from(sorted(ORDERS)),
        seed=st.integers(0, 100),
        data=st.data(),
    )


once_poisoned = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # memory is poisoned for all examples


@pytest.mark.parametrize("stem", CHECKS)
@any_run(DTYPES)
@once_poisoned
def test_kernels_equal_the_reference(library: Path, stem, case, dtype, channels_last, order, seed, data):
    kernels = EmulatedKernels(library, order, seed, wide_owners=bool(seed % 2))
    check, arguments = CHECKS[stem]
    check(getattr(kernels, stem), case, dtype, channels_last, *data.draw(st.sampled_from(arguments)))


@pytest.mark.parametrize("stem", [stem for stem in CONVOLUTION_CHECKS if stem not in _KERNELS_OF])
@any_run([torch.bfloat16, torch.float16])
@settings(once_poisoned, max_examples=40)
def test_convolutions_equal_the_reference(library: Path, stem, case, dtype, channels_last, order, seed, data):
    check, arguments = CONVOLUTION_CHECKS[stem]
    kernel = getattr(EmulatedKernels(library, order, seed), stem)
    check(kernel, case, dtype, channels_last, *data.draw(st.sampled_from(arguments)))

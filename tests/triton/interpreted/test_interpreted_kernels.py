"""Every Triton kernel, run by the interpreter, equals the reference: bit for bit, the soft operations up to rounding."""

import fused_cases
import kernel_cases
import pytest
import soft_cases
import torch
from kernel_cases import CASES, DTYPES, Case

from wwae import triton_kernels

# Every dtype for two geometries, float32 and bfloat16 by turns for the others.
EVERY_DTYPE = ("2x2 odd ceil", "3x3 stride 2 padding ceil")


def parameters(names: list[str]) -> list:
    return [
        pytest.param(CASES[name], dtype, channels_last, id=f"{name}-{dtype}-{'channels_last' * channels_last}")
        for number, name in enumerate(names)
        for channels_last in (False, True)
        for dtype in (DTYPES if name in EVERY_DTYPE else (DTYPES[0 if number % 2 else 2],))
    ]


# The soft kernels take ten times as long in the interpreter: one geometry for each way through them.
SOFT_CASES = {
    name: CASES[name]
    for name in (
        "2x2 half vector", "2x2 one channel", "2x2 padding", "2x2 overlapping", "3x3 stride 2 padding ceil", "3x3 stride 3",
        "5x5 stride 1", "stride wider than kernel", "1x1", "rectangle dilated",
    )
} | {"17x3": Case((1, 2, 17, 9), (17, 3), (17, 3))}  # fmt: skip


def soft_parameters() -> list:
    return [
        pytest.param(case, DTYPES[(number + channels_last) % 4], channels_last, id=f"{name}-{'channels_last' * channels_last}")
        for number, (name, case) in enumerate(SOFT_CASES.items())
        for channels_last in (False, True)
    ]


every_case = pytest.mark.parametrize(("case", "dtype", "channels_last"), parameters(list(CASES)))
overlapping_case = pytest.mark.parametrize(
    ("case", "dtype", "channels_last"), parameters([name for name in CASES if CASES[name].overlapping])
)


@pytest.mark.parametrize("stem", ["switch_pool2d", "max_pool2d", "fixed_unpool2d", "max_unpool2d", "max_gather2d"])
@every_case
def test_equals_reference(stem: str, case: Case, dtype: torch.dtype, channels_last: bool):
    check = getattr(kernel_cases, f"check_{stem}")
    check(getattr(triton_kernels, f"{stem}_triton"), case, dtype, channels_last)


@pytest.mark.parametrize(
    "stem",
    ["soft_argmax_pool2d", "soft_argmax_pool2d_backward", "soft_argmax_unpool2d", "soft_argmax_unpool2d_backward"],
)
@pytest.mark.parametrize(("case", "dtype", "channels_last"), soft_parameters())
def test_soft_operations_are_near_the_reference(stem: str, case: Case, dtype: torch.dtype, channels_last: bool):
    check = getattr(soft_cases, f"check_{stem}")
    check(getattr(triton_kernels, f"{stem}_triton"), case, dtype, channels_last)


@pytest.mark.parametrize("corrupt", [False, True])
@pytest.mark.parametrize("stem", ["switch_unpool2d", "switch_gather2d"])
@every_case
def test_last_switch_wins(stem: str, case: Case, dtype: torch.dtype, channels_last: bool, corrupt: bool):
    check = getattr(kernel_cases, f"check_{stem}")
    check(getattr(triton_kernels, f"{stem}_triton"), case, dtype, channels_last, "last", corrupt)


@pytest.mark.parametrize("overlap", ["sum", "mean"])
@pytest.mark.parametrize("stem", ["switch_unpool2d", "switch_gather2d"])
@overlapping_case
def test_switches_add(stem: str, case: Case, dtype: torch.dtype, channels_last: bool, overlap: str):
    check = getattr(kernel_cases, f"check_{stem}")
    for corrupt in (False, True):
        check(getattr(triton_kernels, f"{stem}_triton"), case, dtype, channels_last, overlap, corrupt)


@pytest.mark.parametrize("stem", ["bias_relu_pool2d", "bias_relu_pool2d_backward", "batch_norm_relu_pool2d"])
@every_case
def test_fused_equals_reference(stem: str, case: Case, dtype: torch.dtype, channels_last: bool):
    check = getattr(fused_cases, f"check_{stem}")
    check(getattr(triton_kernels, f"{stem}_triton"), case, dtype, channels_last)


@pytest.mark.parametrize("training", [True, False])
@every_case
def test_batch_norm_backward(case: Case, dtype: torch.dtype, channels_last: bool, training: bool):
    for corrupt in (False, True):
        backend = triton_kernels.batch_norm_relu_pool2d_backward_triton
        fused_cases.check_batch_norm_relu_pool2d_backward(backend, case, dtype, channels_last, training, corrupt)
